//! Asks all members of the cluster what they tell of themselves.

use super::endpoints::Endpoints;
use super::tasks::unary;
use super::transport::{CallError, Connection, PREFIX};
use crate::cluster::{Cluster, Member, Report};
use crate::endpoint::Url;
use crate::error::{Error, Result};
use bytes::Bytes;
use etcd_client::proto::{PbMemberListResponse, PbStatusResponse};
use futures_util::stream::{FuturesUnordered, StreamExt};
use prost::Message;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout_at;

const STATUS: &str = "/etcdserverpb.Maintenance/Status";
const MEMBER_LIST: &str = "/etcdserverpb.Cluster/MemberList";

/// What came of asking at one URL, or why nothing did.
type Asked = std::result::Result<Answer, String>;

struct Answer {
    cluster: u64,
    member: u64,
    leader: u64,
    report: Report,
    list: Vec<Member>,
}

/// So many URLs at most are asked, and as many of what one member lists are looked at: each
/// of them costs a connection.
const MOST: usize = 64;

/// Those that are known and those in their lists are asked, all at once.
pub async fn ask(endpoints: &Arc<Endpoints>, deadline: Instant) -> Result<Cluster> {
    if endpoints.has_user() {
        // For a token. Without one they may answer all the same.
        let half = deadline.saturating_duration_since(Instant::now()) / 2;
        let _ = timeout_at((Instant::now() + half).into(), endpoints.connect()).await;
    }
    let late = |_| Error::Unavailable("no member is known yet".into());
    let mut new = timeout_at(deadline.into(), endpoints.urls()).await.map_err(late)??;
    // What was encrypted on its way to the given ones, as a token, stays so.
    let tls_alone = new.iter().all(|url| url.tls);
    let mut known: Vec<(Url, Asked)> = Vec::new();
    let mut asking = FuturesUnordered::new();
    loop {
        for url in new.drain(..) {
            if known.len() >= MOST || known.iter().any(|(known, _)| *known == url) {
                continue;
            }
            if tls_alone && !url.tls {
                known.push((url, Err("not asked without TLS".into())));
                continue;
            }
            known.push((url.clone(), Err("no answer in time".into())));
            asking.push(async { (ask_at(endpoints, &url).await, url) });
        }
        let Ok(Some((asked, url))) = timeout_at(deadline.into(), asking.next()).await else {
            return gather(known);
        };
        if let Ok(answer) = &asked {
            new.extend(answer.list.iter().flat_map(urls).take(MOST));
        }
        if let Some(known) = known.iter_mut().find(|(known, _)| *known == url) {
            known.1 = asked;
        }
    }
}

async fn ask_at(endpoints: &Endpoints, url: &Url) -> Asked {
    let connection = endpoints.dial(url).await.map_err(|error| error.to_string())?;
    let _retired = Retired(&connection);
    ask_over(&connection, url).await
}

/// Retires a connection when dropped, as when nobody waits for the answer any more.
struct Retired<'a>(&'a Connection);

impl Drop for Retired<'_> {
    fn drop(&mut self) {
        self.0.retire();
    }
}

async fn ask_over(connection: &Arc<Connection>, url: &Url) -> Asked {
    let status = call::<PbStatusResponse>(connection, STATUS).await?;
    // A list is worth having, and no more.
    let list = call::<PbMemberListResponse>(connection, MEMBER_LIST).await;
    let list = list.map(members).unwrap_or_default();
    let header = status.header.unwrap_or_default();
    Ok(Answer {
        cluster: header.cluster_id,
        member: header.member_id,
        leader: status.leader,
        report: Report {
            endpoint: url.to_string(),
            version: status.version,
            db_size: status.db_size,
            db_size_in_use: status.db_size_in_use,
            raft_index: status.raft_index,
            raft_term: status.raft_term,
            revision: header.revision,
            troubles: status.errors,
        },
        list,
    })
}

/// A request without fields, for a member with or without a leader.
async fn call<A: Message + Default>(
    connection: &Arc<Connection>,
    method: &'static str,
) -> std::result::Result<A, String> {
    let empty = Bytes::from_static(&[0; PREFIX]);
    let answer = unary(connection, method, false, empty).await;
    let answer = answer.map_err(|error: CallError| error.to_string())?;
    A::decode(answer).map_err(|error| error.to_string())
}

fn members(list: PbMemberListResponse) -> Vec<Member> {
    let members = list.members.into_iter().map(|member| Member {
        id: member.id,
        name: member.name,
        peer_urls: member.peer_ur_ls,
        client_urls: member.client_ur_ls,
        is_learner: member.is_learner,
        ..Member::default()
    });
    members.collect()
}

fn urls(member: &Member) -> Vec<Url> {
    member.client_urls.iter().filter_map(|url| Url::parse(url).ok()).collect()
}

/// The cluster as the member sees it that has come furthest, with what each tells.
fn gather(known: Vec<(Url, Asked)>) -> Result<Cluster> {
    let (mut answers, mut failures) = (Vec::new(), Vec::new());
    for (url, asked) in known {
        match asked {
            Ok(answer) => answers.push(answer),
            Err(why) => failures.push((url, why)),
        }
    }
    let place = |answer: &Answer| (answer.report.raft_term, answer.report.raft_index);
    let leading = answers.iter().filter(|answer| answer.leader != 0);
    let leader = leading.max_by_key(|answer| place(answer)).map(|answer| answer.leader);
    // A learner has no list.
    let furthest = |answer: &&mut Answer| (!answer.list.is_empty(), place(answer));
    let Some(best) = answers.iter_mut().max_by_key(furthest) else {
        let why: Vec<_> = failures.iter().map(|(url, why)| format!("{url}: {why}")).collect();
        return Err(Error::Unavailable(why.join("; ")));
    };
    let id = best.cluster;
    let mut members = std::mem::take(&mut best.list);
    for member in &mut members {
        let urls = urls(member);
        let why = failures.iter().find(|(url, _)| urls.contains(url)).map(|(_, why)| why.clone());
        member.report = Err(why.unwrap_or_else(|| match urls.is_empty() {
            true => "it has no client URL of use".into(),
            false => format!("not asked: more than {MOST} URLs"),
        }));
    }
    for answer in answers {
        let report = Ok(answer.report);
        match members.iter_mut().find(|member| member.id == answer.member) {
            Some(member) => member.report = report,
            None => members.push(Member { id: answer.member, report, ..Member::default() }),
        }
    }
    Ok(Cluster { id, leader, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str) -> Url {
        Url::parse(&format!("http://{host}:1")).expect("a URL")
    }

    fn listed(ids: &[u64]) -> Vec<Member> {
        let member = |id: &u64| Member {
            id: *id,
            name: format!("m{id}"),
            client_urls: vec![url(&format!("m{id}")).to_string()],
            ..Member::default()
        };
        ids.iter().map(member).collect()
    }

    fn told(member: u64, leader: u64, term: u64, index: u64, list: &[u64]) -> (Url, Asked) {
        let report = Report { raft_term: term, raft_index: index, ..Report::default() };
        let list = listed(list);
        (url(&format!("m{member}")), Ok(Answer { cluster: 9, member, leader, report, list }))
    }

    #[test]
    fn neither_a_learner_nor_a_candidate_hides_what_others_know() {
        let learner = || told(2, 1, 5, 200, &[]);
        let candidate = || told(2, 0, 6, 100, &[1, 2]);
        for other in [learner, candidate] as [fn() -> (Url, Asked); 2] {
            let cluster = gather(vec![told(1, 1, 5, 100, &[1, 2]), other()]);
            let cluster = cluster.expect("one answered");
            assert_eq!((cluster.id, cluster.leader), (9, Some(1)));
            let names: Vec<_> = cluster.members.iter().map(|member| &*member.name).collect();
            assert_eq!(names, ["m1", "m2"]);
            assert!(cluster.members.iter().all(|member| member.report.is_ok()));
        }
    }

    #[test]
    fn who_did_not_answer_is_there_with_the_reason() {
        let silent = (url("m2"), Err("no answer in time".to_owned()));
        let cluster = gather(vec![told(1, 0, 5, 1, &[1, 2]), silent]).expect("one answered");
        assert_eq!(cluster.leader, None);
        let why = cluster.members[1].report.as_ref().err().map(String::as_str);
        assert_eq!(why, Some("no answer in time"));
        let nobody = gather(vec![(url("m1"), Err("gone".into()))]);
        assert!(matches!(nobody, Err(Error::Unavailable(why)) if why.contains("gone")));
    }
}
