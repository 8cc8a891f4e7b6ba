//! JSON over HTTP to a process on loopback.

use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body: JSON, or its text as a JSON string.
    pub body: Value,
}

/// Requests to one address, each with a time-out of 20 s.
#[derive(Debug, Clone)]
pub struct Http {
    base: String,
    client: ureq::Agent,
}

impl Http {
    /// `base` is `http://host:port` or `host:port`.
    pub fn new(base: &str) -> Http {
        let base = if base.starts_with("http://") { base.to_owned() } else { format!("http://{base}") };
        // a server that did not read a body closes the connection after its answer, and this client would use it once more
        let config = ureq::Agent::config_builder()
            .max_idle_connections(0)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build();
        Http { base: base.trim_end_matches('/').to_owned(), client: config.into() }
    }

    /// Where requests go.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET, or why no answer came.
    pub fn try_get(&self, path: &str) -> Result<Answer, String> {
        answer(self.client.get(format!("{}{path}", self.base)).call())
    }

    /// POST of JSON, or why no answer came.
    pub fn try_post(&self, path: &str, body: &Value) -> Result<Answer, String> {
        answer(self.client.post(format!("{}{path}", self.base)).send_json(body))
    }

    /// GET that must answer 200.
    pub fn get(&self, path: &str) -> Value {
        let answer = self.try_get(path).unwrap_or_else(|error| panic!("GET {}{path}: {error}", self.base));
        assert_eq!(answer.status, 200, "GET {}{path}: {}", self.base, answer.body);
        answer.body
    }
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, String> {
    let mut response = result.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(256 << 20);
    let text = body.read_to_string().map_err(|error| error.to_string())?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answer { status, body })
}
