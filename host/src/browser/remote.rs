//! A browser behind a WebDriver URL: a Selenium Grid, a device farm, a phone, a driver that runs already.
//!
//! Browser and driver are the other side's: it starts and ends them, and what it keeps of a session that we could not end
//! it ends by its own time-out. The pages are ours, so the browser has to reach them under an address that it trusts
//! (`127.0.0.1`, or a forwarded port).

use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::session::Start;
use super::{chromium, firefox};
use crate::target::Browser;

/// Where the driver is, and what it is asked for beyond the browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// `http://HOST:PORT` or with a path; may carry `USER:KEY@`.
    pub url: String,
    /// Added to the capabilities of the browser; what is there already is replaced.
    #[serde(default)]
    pub capabilities: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    #[error("`{0}` is no WebDriver URL: write http://HOST:PORT or https://USER:KEY@HOST/PATH")]
    Url(String),
    #[error("capabilities are a JSON object: {0}")]
    Capabilities(String),
}

impl FromStr for Remote {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Remote, RemoteError> {
        let rest = text
            .strip_prefix("http://")
            .or(text.strip_prefix("https://"));
        match rest.filter(|rest| !rest.is_empty() && !rest.starts_with('/')) {
            Some(_) => Ok(Remote {
                url: text.trim_end_matches('/').into(),
                capabilities: Map::new(),
            }),
            None => Err(RemoteError::Url(text.into())),
        }
    }
}

impl Remote {
    /// Adds capabilities: JSON, or `@FILE`.
    ///
    /// # Errors
    /// What is no JSON object, a file that cannot be read.
    pub fn with_capabilities(mut self, text: &str) -> Result<Remote, RemoteError> {
        let wrong = |e: &dyn std::fmt::Display| RemoteError::Capabilities(e.to_string());
        let json = match text.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(Path::new(file)).map_err(|e| wrong(&e))?,
            None => text.to_owned(),
        };
        let object: Map<String, Value> = serde_json::from_str(&json).map_err(|e| wrong(&e))?;
        self.capabilities.extend(object);
        Ok(self)
    }

    /// The URL without the user's name and key, as it may be kept and shown.
    pub fn shown(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("http", &self.url));
        let host = rest.split('/').next().unwrap_or_default();
        match host.rsplit_once('@') {
            Some((secret, _)) => format!("{scheme}://{}", &rest[secret.len() + 1..]),
            None => self.url.clone(),
        }
    }

    /// What the session is asked for: the browser with our flags, and what the user added.
    pub(super) fn capabilities(&self, browser: Browser, start: &Start) -> Value {
        let mut all = match browser {
            Browser::Chrome | Browser::Shell => json!({
                "browserName": "chrome", "goog:chromeOptions": { "args": chromium::flags(start) }
            }),
            Browser::Edge => json!({
                "browserName": "MicrosoftEdge", "ms:edgeOptions": { "args": chromium::flags(start) }
            }),
            Browser::Firefox => firefox::remote_capabilities(start),
            Browser::Safari => json!({ "browserName": "safari" }),
        };
        if let Value::Object(all) = &mut all {
            all.extend(self.capabilities.clone());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::browser::Hardware;

    #[test]
    fn urls_keep_their_secrets() {
        let remote: Remote = "https://me:key@hub.example.org/wd/hub/".parse().unwrap();
        assert_eq!(remote.shown(), "https://hub.example.org/wd/hub");
        let plain: Remote = "http://127.0.0.1:4444".parse().unwrap();
        assert_eq!(plain.shown(), "http://127.0.0.1:4444");
        for wrong in ["", "127.0.0.1:4444", "ftp://x", "http://", "http:///x"] {
            assert!(wrong.parse::<Remote>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn capabilities_are_the_browsers_and_the_users() {
        let remote: Remote = "http://127.0.0.1:4444".parse().unwrap();
        let remote = remote
            .with_capabilities(r#"{"platformName": "linux"}"#)
            .unwrap();
        let start = Start {
            hardware: Hardware::SoftwareGpu,
            webnn: false,
            headless: true,
            extra_flags: vec!["--mine".into()],
        };
        let all = remote.capabilities(Browser::Edge, &start);
        assert_eq!(all["browserName"], "MicrosoftEdge");
        assert_eq!(all["platformName"], "linux");
        let flags = all["ms:edgeOptions"]["args"].as_array().unwrap();
        assert!(flags.contains(&json!("--mine")) && flags.contains(&json!("--headless=new")));
        assert_eq!(
            remote.capabilities(Browser::Safari, &start)["browserName"],
            "safari"
        );
        let error = "http://x"
            .parse::<Remote>()
            .unwrap()
            .with_capabilities("[1]");
        assert!(matches!(error, Err(RemoteError::Capabilities(_))));
    }
}
