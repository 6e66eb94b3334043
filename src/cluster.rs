//! What the members of a cluster tell of themselves.

use std::fmt::{Display, Write};

#[derive(Debug, Default)]
pub struct Cluster {
    pub id: u64,
    /// None where no member that answered knows one.
    pub leader: Option<u64>,
    pub members: Vec<Member>,
}

#[derive(Clone, Debug)]
pub struct Member {
    pub id: u64,
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
    /// Or why there is none.
    pub report: Result<Report, String>,
}

impl Default for Member {
    fn default() -> Self {
        Self {
            id: 0,
            name: String::new(),
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
            is_learner: false,
            report: Err("not asked".into()),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Where it was reached.
    pub endpoint: String,
    pub version: String,
    pub db_size: i64,
    pub db_size_in_use: i64,
    pub raft_index: u64,
    pub raft_term: u64,
    pub revision: i64,
    /// What it says is wrong with it.
    pub troubles: Vec<String>,
}

impl Cluster {
    pub fn json(&self) -> String {
        object(&[
            ("cluster_id", hex(self.id)),
            ("leader", or_null(self.leader, hex)),
            ("members", array(&self.members, Member::json)),
        ])
    }
}

impl Member {
    fn json(&self) -> String {
        let report = self.report.as_ref().ok();
        let error = match &self.report {
            Ok(report) => Some(report.troubles.join("; ")).filter(|troubles| !troubles.is_empty()),
            Err(why) => Some(why.clone()),
        };
        let text = |text: &String| string(text);
        object(&[
            ("id", hex(self.id)),
            ("name", string(&self.name)),
            ("peer_urls", array(&self.peer_urls, text)),
            ("client_urls", array(&self.client_urls, text)),
            ("is_learner", self.is_learner.to_string()),
            ("reachable", report.is_some().to_string()),
            ("error", or_null(error, |error| string(&error))),
            ("endpoint", or_null(report, |report| string(&report.endpoint))),
            ("version", or_null(report, |report| string(&report.version))),
            ("db_size", or_null(report, |report| report.db_size)),
            ("db_size_in_use", or_null(report, |report| report.db_size_in_use)),
            ("raft_index", or_null(report, |report| report.raft_index)),
            ("raft_term", or_null(report, |report| report.raft_term)),
            ("revision", or_null(report, |report| report.revision)),
        ])
    }
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn array<T>(items: &[T], json: impl Fn(&T) -> String) -> String {
    format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(","))
}

fn or_null<T, J: Display>(value: Option<T>, json: impl FnOnce(T) -> J) -> String {
    value.map_or_else(|| "null".into(), |value| json(value).to_string())
}

fn string(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\0'..=' ' if c != ' ' => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            _ => json.push(c),
        }
    }
    json.push('"');
    json
}

/// Numbers of JSON need not have 64 bits.
fn hex(id: u64) -> String {
    format!("\"{id:x}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_string() {
        assert_eq!(string("a b~\u{7f}\u{fffd}"), "\"a b~\u{7f}\u{fffd}\"");
        assert_eq!(string("\"\\\n\u{0}\u{1f}"), "\"\\\"\\\\\\u000a\\u0000\\u001f\"");
    }

    #[test]
    fn what_is_not_known_is_null() {
        let trouble = Report { troubles: vec!["NOSPACE".into()], revision: 7, ..Report::default() };
        let reached = Member { id: u64::MAX, report: Ok(trouble), ..Member::default() };
        let urls = vec!["http://a".into(), "http://b".into()];
        let not = Member { name: "n".into(), peer_urls: urls, ..Member::default() };
        let text = Cluster { id: 10, leader: None, members: vec![reached, not] }.json();
        assert_eq!(
            text,
            concat!(
                r#"{"cluster_id":"a","leader":null,"members":[{"id":"ffffffffffffffff","name":"","#,
                r#""peer_urls":[],"client_urls":[],"is_learner":false,"reachable":true,"#,
                r#""error":"NOSPACE","endpoint":"","version":"","db_size":0,"db_size_in_use":0,"#,
                r#""raft_index":0,"raft_term":0,"revision":7},{"id":"0","name":"n","#,
                r#""peer_urls":["http://a","http://b"],"client_urls":[],"is_learner":false,"#,
                r#""reachable":false,"error":"not asked","endpoint":null,"version":null,"#,
                r#""db_size":null,"db_size_in_use":null,"raft_index":null,"raft_term":null,"#,
                r#""revision":null}]}"#
            )
        );
    }
}
