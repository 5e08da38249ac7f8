#!/usr/bin/env python3
"""Plays field cases against the tokenkeeper command, on loopback.

    python3 run.py [CASE.json ...] [-v] [-j N]     without a case: all in the folder `cases`

A case (JSON):
  id, title, source   what it is and where it was reported
  import              members for `tokenkeeper import` besides the usual ones; null removes a member; "@now+N" is a time
  import_raw          the bytes on import's standard input instead (after @BASE@ was replaced)
  answers             what the token endpoint answers, in order; the last one is repeated. Each: status, headers, body (text or
                      JSON), gzip|deflate|br (body encoded), raw (the whole answer as text), close_after (bytes of it sent),
                      delay (s), drip (s between the first drip_after bytes of the body and the rest), or mint: true  -> {"access_token":"at-N","refresh_token":"rt-N","expires_in":3600}
                      "only_if": {"refresh_token": "rt-2"} -> else the family is revoked: 400 invalid_grant
  steps               [{cmd: "token"|"status"|"why"|"logout"|"import"|"sleep", args, sleep, exit, out, err, not_err, json:{member: value}}]
                      out/err are regular expressions
  requests            how many token requests the server must have seen at most / exactly ("=3", "<=3")
  sent                [[index, regex on "head\n\nbody"], ...]  what request number index must look like ("!regex": must not)
"""
import base64, concurrent.futures, gzip, http.server, json, os, re, shutil, socket, subprocess, sys, tempfile, threading, time, urllib.parse, zlib

HERE = os.path.dirname(os.path.abspath(__file__))
TK = os.environ.get("TK") or os.path.join(HERE, "../../target/debug/tokenkeeper")

class Server:
    def __init__(self, case):
        self.case, self.seen, self.lock = case, [], threading.Lock()
        self.sock = socket.socket(); self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", 0)); self.sock.listen(64)
        self.port = self.sock.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.minted = 0
        self.done = False
        threading.Thread(target=self.loop, daemon=True).start()
    def loop(self):
        while not self.done:
            try: c, _ = self.sock.accept()
            except OSError: return
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()
    def serve(self, c):
        try:
            data = b""
            while b"\r\n\r\n" not in data:
                d = c.recv(65536)
                if not d: return
                data += d
            head, body = data.split(b"\r\n\r\n", 1)
            m = re.search(rb"content-length: *(\d+)", head, re.I)
            want = int(m.group(1)) if m else 0
            while len(body) < want:
                d = c.recv(65536)
                if not d: break
                body += d
            with self.lock:
                n = len(self.seen); self.seen.append((time.time(), head.decode("latin1"), body.decode("latin1")))
            answers = self.case.get("answers", [{"mint": True}])
            a = answers[min(n, len(answers) - 1)]
            self.answer(c, a, body.decode("latin1"), head.decode("latin1"))
        except OSError: pass
        finally:
            try: c.close()
            except OSError: pass
    def answer(self, c, a, body, head=""):
        if a.get("delay"): time.sleep(a["delay"])
        if "only_if" in a:
            form = dict(urllib.parse.parse_qsl(body))
            if any(form.get(k) != v for k, v in a["only_if"].items()):
                a = {"status": 400, "body": {"error": "invalid_grant", "error_description": "reuse"}}
        if "grace" in a:
            # From the second presentation of a token on: within the grace the same answer, after it the end of the family.
            first = self.seen[0][0]
            if time.time() - first > a["grace"]: a = {"status": 400, "body": {"error": "invalid_grant", "error_description": "reuse"}}
        if "unless_sent" in a and re.search(a["unless_sent"], head + "\n\n" + body, re.I):
            a = a["then"]
        if "raw" in a:
            out = a["raw"].replace("@BASE@", self.base).encode("latin1")
        else:
            headers = dict(a.get("headers", {}))
            if a.get("mint"):
                with self.lock: self.minted += 1; k = self.minted
                payload = {"access_token": f"at-{k}", "refresh_token": f"rt-{k}", "expires_in": 3600, "token_type": "Bearer"}
                payload.update({k: value(v) for k, v in a.get("with", {}).items()}); payload = {k: v for k, v in payload.items() if v is not None}
                b = json.dumps(payload).encode()
            else:
                b = a.get("body", "")
                if b == "@jwt":
                    enc = lambda o: base64.urlsafe_b64encode(json.dumps(o).encode()).decode().rstrip("=")
                    b = {"access_token": enc({"alg": "RS256"}) + "." + enc({k: value(v) for k, v in self.case["jwt"].items()}) + ".c2ln", "token_type": "Bearer", "refresh_token": "rt-1"}
                b = (json.dumps(b) if not isinstance(b, str) else b).replace("@BASE@", self.base).encode()
            headers.setdefault("content-type", "application/json")
            for enc in ("gzip", "deflate"):
                if a.get(enc):
                    b = gzip.compress(b) if enc == "gzip" else zlib.compress(b)
                    if a.get("say_encoding", True): headers["content-encoding"] = enc
            if "br" in a: b = base64.b64decode(a["br"]); headers["content-encoding"] = "br"
            status = a.get("status", 200)
            if a.get("length", True) is True: headers["content-length"] = str(len(b))
            elif a["length"] is not False: headers["content-length"] = str(a["length"])
            lines = [f"HTTP/1.1 {status} X"] + [f"{k}: {v}" for k, vs in headers.items() for v in (vs if isinstance(vs, list) else [vs])] + ["connection: close"]
            out = "\r\n".join(lines).encode("latin1") + b"\r\n\r\n" + b
        if "close_after" in a: out = out[: a["close_after"]]
        if "drip" in a:
            h = out.index(b"\r\n\r\n") + 4 + a.get("drip_after", 10)
            c.sendall(out[:h]); time.sleep(a["drip"]); out = out[h:]
        c.sendall(out)
        if a.get("linger"): time.sleep(a["linger"])

def value(v):
    if isinstance(v, str) and v.startswith("@now"):
        return int(time.time()) + int(v[4:] or 0)
    return v

def play(path, verbose=False):
    case = json.load(open(path))
    server = Server(case)
    tmp = tempfile.mkdtemp(prefix="field-")
    env = {**os.environ, "TOKENKEEPER_HOME": tmp + "/home", "NO_COLOR": "1"}
    env.update({k: v.replace("@BASE@", server.base).replace("@TMP@", tmp) for k, v in case.get("env", {}).items()})
    url = case.get("server", "@BASE@/mcp").replace("@BASE@", server.base)
    bundle = {"server": url, "issuer": server.base, "token_endpoint": server.base + "/token", "client_id": "host", "refresh_token": "rt-0"}
    for k, v in case.get("import", {}).items():
        if v is None: bundle.pop(k, None)
        else: bundle[k] = value(v.replace("@BASE@", server.base).replace("@LOCAL@", f"http://localhost:{server.port}") if isinstance(v, str) else v)
    log, bad = [], []
    def run(cmd, args, stdin=None):
        p = subprocess.run([TK, cmd, *args], input=stdin, env=env, capture_output=True, timeout=120)
        return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
    try:
        steps = case["steps"]
        if not any(s["cmd"] == "import" for s in steps) and not case.get("no_import"):
            steps = [{"cmd": "import", "exit": 0}] + steps
        for i, s in enumerate(steps):
            if s.get("sleep"): time.sleep(s["sleep"])
            if s["cmd"] == "sleep": continue
            if s["cmd"] == "shell":
                p = subprocess.run(s["sh"].replace("@HOME@", tmp + "/home").replace("@TMP@", tmp).replace("@BASE@", server.base).replace("@TK@", TK).replace("@URL@", url), shell=True, executable="/bin/bash", env=env, capture_output=True, timeout=240)
                rc, out, err = p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
            elif s["cmd"] == "import":
                raw = case.get("import_raw")
                stdin = raw.replace("@BASE@", server.base).encode() if raw is not None else json.dumps(bundle).encode()
                rc, out, err = run("import", s.get("args", []), stdin)
            elif s["cmd"] in ("token", "why", "logout"):
                rc, out, err = run(s["cmd"], [url, *s.get("args", [])])
            else:
                rc, out, err = run(s["cmd"], s.get("args", []))
            log.append(f"[{i}] {s['cmd']} {' '.join(s.get('args', []))} -> {rc}\n    out: {out.strip()[:600]}\n    err: {err.strip()[:600]}")
            if "exit" in s and rc != s["exit"]: bad.append(f"step {i} {s['cmd']}: exit {rc}, should be {s['exit']}: {(err.strip().splitlines() or [out.strip()])[0][:160]}")
            if "exit_not" in s and rc == s["exit_not"]: bad.append(f"step {i} {s['cmd']}: exit {rc}, should be another")
            if "out" in s and not re.search(s["out"], out): bad.append(f"step {i} {s['cmd']}: out {out.strip()[:160]!r}, should match {s['out']!r}")
            if "not_out" in s and re.search(s["not_out"], out): bad.append(f"step {i} {s['cmd']}: out {out.strip()[:160]!r}, should not match {s['not_out']!r}")
            if "err" in s and not re.search(s["err"], err): bad.append(f"step {i} {s['cmd']}: err {err.strip()[:200]!r}, should match {s['err']!r}")
            if "not_err" in s and re.search(s["not_err"], err): bad.append(f"step {i} {s['cmd']}: err {err.strip()[:200]!r}, should not match {s['not_err']!r}")
            if "lifetime" in s:
                lo, hi = s["lifetime"] if s["lifetime"] else (None, None)
                e = json.loads(out).get("expires_at") if out.strip().startswith("{") else "?"
                if lo is None: ok = e is None
                else:
                    import datetime
                    try: left = datetime.datetime.fromisoformat(e.replace("Z", "+00:00")).timestamp() - time.time(); ok = lo <= left <= hi
                    except Exception: ok, left = False, None
                if not ok: bad.append(f"step {i}: expires_at {e}, should be {'null' if lo is None else f'in {lo} to {hi} s'}")
        seen = server.seen
        if "requests" in case:
            op, n = re.match(r"([=<>]*)(\d+)", case["requests"]).groups(); n = int(n); k = len(seen)
            if not {"=": k == n, "<=": k <= n, ">=": k >= n, "": k == n}[op]: bad.append(f"{k} token requests, should be {case['requests']}")
        for idx, rx in case.get("sent", []):
            t = (seen[idx][1] + "\n\n" + seen[idx][2]) if idx < len(seen) else "(no such request)"
            neg = rx.startswith("!")
            if bool(re.search(rx[neg:], t, re.I)) == neg: bad.append(f"request {idx}: should {'not ' if neg else ''}match {rx[neg:]!r}: {t[-200:]!r}")
        for t, h, b in seen: log.append(f"    req @{t - seen[0][0]:.1f}s {h.splitlines()[0]} | {b[:300]}")
    except subprocess.TimeoutExpired as e:
        bad.append(f"hung: {e.cmd}")
    finally:
        server.done = True; server.sock.close()
        subprocess.run(["chmod", "-R", "u+rwx", tmp]); shutil.rmtree(tmp, ignore_errors=True)
    return case, bad, log

if __name__ == "__main__":
    argv = [a for a in sys.argv[1:] if not a.startswith("-")]
    verbose = "-v" in sys.argv
    jobs = 1
    if "-j" in sys.argv:
        jobs = int(sys.argv[sys.argv.index("-j") + 1]); argv.remove(str(jobs))
    argv = argv or sorted(os.path.join(HERE, "cases", name) for name in os.listdir(os.path.join(HERE, "cases")))
    worst = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for case, bad, log in pool.map(lambda p: play(p, verbose), argv):
            print(("PASS " if not bad else "FAIL ") + case["id"] + "  " + case["title"])
            for b in bad: print("      " + b)
            if verbose: print("\n".join("   " + l for l in log))
            worst |= bool(bad)
    sys.exit(worst)
