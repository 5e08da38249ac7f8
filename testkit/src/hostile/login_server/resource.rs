//! The protected MCP resource, with the scopes that its tools and paths require.

use serde_json::{Value, json};

use super::documents::{challenge, insufficient};
use super::flaw::Flaw;
use super::incoming::Incoming;
use super::site::Site;
use crate::hostile::reply::Reply;

impl Site {
    /// Answers a call whose access token has `scope`. `None` without a good token.
    pub(in crate::hostile) fn call(&self, incoming: &Incoming<'_>, scope: Option<&str>) -> Reply {
        let presented = incoming.has_token();
        let message = incoming.json().unwrap_or_default();
        let special = self.special_scopes(incoming.path(), &message);
        let anonymous = self.settings.admits_anonymous && !presented && special.is_empty();
        let required: Vec<String> = self.settings.required.iter().chain(&special).cloned().collect();
        let Some(scope) = scope.filter(|_| !self.has(Flaw::RefusesTokens)) else {
            return if anonymous { answer(incoming, &message) } else { challenge(self, presented, &required) };
        };
        let has = |name: &str| scope.split(' ').any(|own| own == name);
        let missing: Vec<String> = required.iter().filter(|name| !has(name)).cloned().collect();
        if !missing.is_empty() {
            // The client adds those that it has to these.
            return insufficient(self, &missing);
        }
        if self.has(Flaw::NeverEnoughScope) && !special.is_empty() {
            return insufficient(self, &special);
        }
        answer(incoming, &message)
    }

    /// The scopes that this path and this tool require.
    fn special_scopes(&self, path: &str, message: &Value) -> Vec<String> {
        let by_path = self.settings.paths.get(path);
        let tool = (message["method"] == "tools/call").then(|| message["params"]["name"].as_str()).flatten();
        let by_tool = tool.and_then(|tool| self.settings.tools.get(tool));
        by_path.into_iter().chain(by_tool).flatten().cloned().collect()
    }
}

fn answer(incoming: &Incoming<'_>, message: &Value) -> Reply {
    if incoming.method() != "POST" {
        return Reply::empty(405).with("allow", "POST");
    }
    let id = message.get("id").cloned().unwrap_or(1.into());
    Reply::json(200, &json!({ "jsonrpc": "2.0", "id": id, "result": {} }))
}
