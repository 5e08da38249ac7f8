//! The operations of messages, under which futile refusals are remembered (law 11).

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest};
use tokenkeeper::OperationKey;

/// The maximum number of methods that are remembered, and that of tools. The names of others are digested at each request.
const MAX_KNOWN: usize = 256;

/// The keys of operations, by name. A key is a digest of the name. Looking it up is several times quicker than computing it.
pub(crate) struct Operations {
    methods: Known,
    tools: Known,
    pub(crate) stream: OperationKey,
    pub(crate) end: OperationKey,
    answers: OperationKey,
    notifications: OperationKey,
}

#[derive(Default)]
struct Known(ArcSwap<BTreeMap<Arc<str>, OperationKey>>);

impl Operations {
    pub(crate) fn new() -> Self {
        Self {
            methods: Known::default(),
            tools: Known::default(),
            stream: OperationKey::of("GET"),
            end: OperationKey::of("DELETE"),
            answers: OperationKey::of("responses"),
            notifications: OperationKey::of("notifications"),
        }
    }

    /// The operation of a message, which is its method, and for a tool call also the tool's name.
    pub(crate) fn of(&self, message: &ClientJsonRpcMessage) -> OperationKey {
        match message {
            ClientJsonRpcMessage::Request(request) => match &request.request {
                ClientRequest::CallToolRequest(call) => self.tools.key("tools/call ", &call.params.name),
                other => self.methods.key("", other.method()),
            },
            ClientJsonRpcMessage::Notification(_) => self.notifications,
            ClientJsonRpcMessage::Response(_) | ClientJsonRpcMessage::Error(_) => self.answers,
        }
    }
}

impl Known {
    fn key(&self, prefix: &str, name: &str) -> OperationKey {
        let known = self.0.load();
        if let Some(key) = known.get(name) {
            return *key;
        }
        let key = OperationKey::of(&format!("{prefix}{name}"));
        if known.len() < MAX_KNOWN {
            let name: Arc<str> = name.into();
            self.0.rcu(|known| {
                let mut known = BTreeMap::clone(known);
                known.insert(Arc::clone(&name), key);
                known
            });
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> ClientJsonRpcMessage {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_tool_has_an_operation_of_its_own_and_any_other_method_one() {
        let operations = Operations::new();
        let search = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}}"#);
        let list = message(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
        let note = message(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        for _ in 0..2 {
            assert_eq!(operations.of(&search), OperationKey::of("tools/call search"));
            assert_eq!(operations.of(&list), OperationKey::of("tools/list"));
            assert_eq!(operations.of(&note), OperationKey::of("notifications"));
        }
    }

    #[test]
    fn a_tool_with_the_name_of_a_method_is_another_operation() {
        let operations = Operations::new();
        let call = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tools/list"}}"#);
        let list = message(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
        assert_ne!(operations.of(&list), operations.of(&call));
        assert_ne!(operations.of(&call), operations.of(&list));
    }

    #[test]
    fn many_names_are_not_all_remembered() {
        let known = Known::default();
        for number in 0..MAX_KNOWN + 10 {
            known.key("tools/call ", &number.to_string());
        }
        assert_eq!(known.0.load().len(), MAX_KNOWN);
        assert_eq!(known.key("tools/call ", "5000"), OperationKey::of("tools/call 5000"));
    }
}
