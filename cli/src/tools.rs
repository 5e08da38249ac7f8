//! `tokenkeeper tools`: lists the tools of an MCP server.

use std::io::{self, Write};

use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::home::{self, HomeArguments, Interruptions};
use crate::mcp_client::{Connection, OpenFailure, ServerArguments, within};
use crate::paint::{BOLD, harmless, paint, print, print_json_text};
use crate::wire::envelope::{MessageParts, member, text};

/// Lists the tools of an MCP server
///
/// All pages of the list are read, with the session's token, which is refreshed when it is needed. Each tool is shown with
/// its arguments, of which those in brackets may be left out, and the first line of its description.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Print the schema of this tool's arguments, as JSON
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// Print one JSON object on a line, with the tools as the server sent them
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  tokenkeeper tools https://mcp.example.com/mcp
  tokenkeeper tools https://mcp.example.com/mcp --schema search
  tokenkeeper tools https://mcp.example.com/mcp --json | jq -r '.tools[].name'

Exit codes:
  0    done
  1    failed: the server answered with an error, or has no tool of this name
  2    usage: an argument, or what came on standard input, is not acceptable
  3    login required: only a new login helps
  4    refused: by the server, or because it needs a login for more scopes
  5    temporarily unavailable: trying again may help
  6    store trouble: the home cannot be read or written
  130  interrupted";

/// Lists the tools of the server that `arguments` name.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    let selected = arguments.server.who.select()?;
    home::block_on(async {
        let mut interruptions = Interruptions::new()?;
        let mut connection = Connection::new(&arguments.server, selected, home, 1).await?;
        let listed = tokio::select! {
            listed = list(&mut connection, arguments) => listed,
            () = interruptions.next() => Err(OpenFailure::Command(Failure::Interrupted)),
        };
        let done = match listed {
            Ok(pages) => show(&pages, arguments, out),
            Err(OpenFailure::Command(failure)) => Err(failure),
            Err(OpenFailure::Request(failure)) => Err(connection.failure(failure, false).await),
        };
        // If the list failed and a token was lost, the loss is reported.
        connection.close().await.and(done)
    })
}

async fn list(connection: &mut Connection, arguments: &Arguments) -> Result<Vec<Vec<u8>>, OpenFailure> {
    connection.open().await?;
    let mut pages = Vec::new();
    for client in &connection.clients {
        let listed = within(arguments.server.timeout, client.list_tools()).await;
        pages.extend(listed.map_err(OpenFailure::Request)?);
    }
    Ok(pages)
}

fn show(pages: &[Vec<u8>], arguments: &Arguments, out: &mut impl Write) -> Result<(), Failure> {
    let tools: Vec<_> = pages.iter().flat_map(|page| tools_of(page)).collect();
    if let Some(wanted) = &arguments.schema {
        let named = tools.iter().find(|tool| name(tool) == *wanted);
        let named = named.ok_or_else(|| {
            Failure::Failed(io::Error::other(format!("the server has no tool named {}", harmless(wanted))))
        })?;
        let schema = member(named, "inputSchema").map_or("{}", RawValue::get);
        if arguments.json {
            print_json_text(out, schema)?;
        } else {
            let schema: Value = serde_json::from_str(schema).unwrap_or_default();
            for line in format!("{schema:#}").lines() {
                print_json_text(out, line)?;
            }
        }
    } else if arguments.json {
        let tools: Vec<_> = tools.iter().map(|tool| tool.get()).collect();
        print_json_text(out, &format!("{{\"tools\":[{}]}}", tools.join(",")))?;
    } else {
        print(out, &table(&tools))?;
    }
    Ok(())
}

/// The tools on a page.
fn tools_of(page: &[u8]) -> Vec<&RawValue> {
    let tools = MessageParts::read(page).and_then(|page| page.result).and_then(|result| member(result, "tools"));
    tools.and_then(|tools| serde_json::from_str(tools.get()).ok()).unwrap_or_default()
}

fn name(tool: &RawValue) -> String {
    member(tool, "name").and_then(text).unwrap_or_default().into_owned()
}

/// The tools, one below the other. Characters of the server's text that act on a terminal are removed.
fn table(tools: &[&RawValue]) -> String {
    let mut table = String::new();
    for tool in tools {
        table.push_str(&format!("{}{}\n", paint(BOLD, harmless(&name(tool))), arguments_of(tool)));
        let description = member(tool, "description").and_then(text).unwrap_or_default();
        if let Some(line) = description.lines().map(str::trim).find(|line| !line.is_empty()) {
            table.push_str(&format!("  {}\n", harmless(line)));
        }
    }
    table
}

/// The names of a tool's arguments, each after a blank.
fn arguments_of(tool: &RawValue) -> String {
    let schema: Value =
        member(tool, "inputSchema").and_then(|schema| serde_json::from_str(schema.get()).ok()).unwrap_or_default();
    let required = schema["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|required| required.iter().any(|known| known == name));
    let names = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| match is_required(name) {
        true => format!(" {}", harmless(name)),
        false => format!(" [{}]", harmless(name)),
    });
    names.collect()
}
