//! The option `sync`: the members as the cluster itself knows them.

use super::endpoints::Endpoints;
use super::io::Io;
use super::tasks::lasting;
use crate::endpoint::Url;
use crate::error::{Error, Result};
use crate::log::{log, Level};
use crate::sync::Lock;
use etcd_client::MemberListResponse;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::time::timeout;

/// How long asking for the list may take, a look at its members included.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The members as they were given, or as DNS tells them now.
pub type Given = Arc<Mutex<Vec<Url>>>;

/// Asks for the list, at once and whenever this time is over, until the endpoints are
/// closed. While nobody answers, the members that were given are tried as well.
pub fn follow(io: &Io, every: Duration, given: Given, all: &[&Arc<Endpoints>]) {
    let all: Vec<_> = all.iter().map(|endpoints| Arc::downgrade(endpoints)).collect();
    io.post(move || {
        tokio::spawn(async move { lasting(|| keep_asking(every, &given, &all)).await });
    });
}

async fn keep_asking(every: Duration, given: &Given, all: &[Weak<Endpoints>]) {
    let mut known = given.hold().clone();
    while let Some(asked) = all.first().and_then(Weak::upgrade) {
        let members = match timeout(ATTEMPT, ask(&asked, given)).await {
            Ok(Ok(members)) => {
                known.clone_from(&members);
                members
            }
            failed => {
                log(Level::Debug, || format!("no list of members: {failed:?}"));
                let given = given.hold().clone();
                let more = given.into_iter().filter(|url| !known.contains(url));
                known.iter().cloned().chain(more).collect()
            }
        };
        let over = asked.over();
        drop(asked);
        // Nor does what DNS tells come between.
        let turn = given.hold();
        for endpoints in all.iter().filter_map(Weak::upgrade) {
            match endpoints.replace(&members) {
                Ok(()) => {}
                Err(Error::Closed) => return,
                Err(error) => log(Level::Warn, || format!("list of members: {error}")),
            }
        }
        drop(turn);
        if timeout(every, over.notified()).await.is_ok() {
            return;
        }
    }
}

/// A cluster has far fewer; what a server says is not believed without end.
const MOST: usize = 64;

/// The client URLs of all members that serve clients.
async fn ask(endpoints: &Arc<Endpoints>, given: &Given) -> Result<Vec<Url>> {
    let connected = endpoints.connect().await?;
    let answer = connected.client().await?.member_list().await;
    let mut urls = urls(&answer.map_err(|error| Error::Unavailable(error.to_string()))?)?;
    // What was encrypted on its way to the given ones, as a password, stays so.
    if given.hold().iter().all(|url| url.tls) {
        urls.retain(|url| url.tls);
    }
    // What members advertise need not lead to them from here.
    for url in &urls {
        if endpoints.reaches(url).await {
            return Ok(urls);
        }
    }
    Err(Error::Unavailable("none of those in the list can be reached".into()))
}

fn urls(answer: &MemberListResponse) -> Result<Vec<Url>> {
    let serving = answer.members().iter().filter(|member| !member.is_learner());
    let mut urls = Vec::new();
    for text in serving.flat_map(|member| member.client_urls()) {
        match Url::parse(text) {
            Ok(url) if urls.contains(&url) => {}
            Ok(_) if urls.len() == MOST => {
                return Err(Error::Unavailable(format!("more than {MOST} URLs in the list")));
            }
            Ok(url) => urls.push(url),
            Err(error) => log(Level::Debug, || format!("a member's URL is passed over: {error}")),
        }
    }
    Ok(urls)
}
