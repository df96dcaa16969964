//! What is told of each request to the API.

use std::sync::Arc;

use serde::Serialize;

use super::who::ClientInfo;
use super::{Head, head, tell};
use crate::account::Account;
use crate::client::Client;

#[derive(Serialize)]
struct Audit<'a> {
    #[serde(flatten)]
    head: Head,
    server: &'a str,
    client: Option<ClientInfo>,
    subject: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request: &'a str,
    response: &'a str,
}

/// Somebody asked for something and was answered.
pub fn api_request(account: &Arc<Account>, client: Option<&Client>, subject: &str, request: &[u8], response: &[u8]) {
    let (request, response) = (String::from_utf8_lossy(request), String::from_utf8_lossy(response));
    tell(account, "$JS.EVENT.ADVISORY.API", || Audit {
        head: head(account, "advisory.v1.api_audit"),
        server: account.shared.server_name.as_str(),
        client: client.map(|client| ClientInfo::of(account, client)),
        subject,
        request: &request,
        response: &response,
    });
}
