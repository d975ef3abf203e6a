//! Prometheus Alertmanager, API v2: one alert an incident, through its whole life.
//!
//! Alertmanager forgets an alert that nobody repeats, so this sink remembers what fires (at most [`FIRING_MAX`], then the
//! one told of longest ago is left to expire) and sends it again long before its `endsAt`; an end is repeated three
//! times. Members of a cluster do not pass alerts on to each other: each gets all of them. One that took it is enough
//! for the event; the others hear of it with the next repetition, and one that fails is left alone for
//! [`REST`], so that it does not slow down the others.

mod alert;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::Url;
use tokio::time::Instant;

use self::alert::{Alert, Book};
use super::{
    Capacity, Reply, Sink, SinkError,
    web::{self, Read, Web},
};
use crate::{
    config,
    deliver::{Event, feed::Pending, retry::Protocol},
};

/// How long a member that failed is left alone while another one works.
const REST: Duration = Duration::from_secs(30);

/// All members of a cluster.
pub(super) struct Alertmanager {
    members: Vec<Member>,
    web: Web,
    book: Book,
    resend: Duration,
    due: Instant,
}

struct Member {
    url: Url,
    /// Nothing is sent to it until then, unless all rest.
    rests_until: Option<Instant>,
}

impl Alertmanager {
    pub(super) fn new(
        kind: &config::AlertmanagerSink,
        config: &config::Sink,
    ) -> Result<Alertmanager, SinkError> {
        let mut urls = Vec::new();
        for base in &kind.urls {
            urls.push(web::url(&format!(
                "{}/api/v2/alerts",
                base.trim_end_matches('/')
            ))?);
        }
        let resend = Duration::from_secs(kind.resend_s);
        Ok(Alertmanager {
            web: Web::new(config, &urls.iter().collect::<Vec<_>>())?,
            members: urls
                .into_iter()
                .map(|url| Member {
                    url,
                    rests_until: None,
                })
                .collect(),
            book: Book::new(kind),
            resend,
            due: Instant::now() + resend,
        })
    }

    /// Posts to every member that does not rest; delivered when one took it.
    async fn post(&mut self, alerts: &[Alert]) -> Reply {
        if alerts.is_empty() {
            return Reply::Delivered("nothing to tell".to_owned());
        }
        self.web.refresh();
        let body = serde_json::to_vec(alerts).expect("an alert is made of strings");
        let body = Bytes::from(body);
        let now = Instant::now();
        let resting = |member: &Member| member.rests_until.is_some_and(|until| until > now);
        let all_rest = self.members.iter().all(resting);
        let web = &self.web;
        let asked = self
            .members
            .iter_mut()
            .filter(|member| all_rest || !resting(member));
        let posts = asked.map(|member| {
            let body = body.clone();
            async move {
                let answer = web
                    .post(&member.url, "application/json", body, Read::Refusals)
                    .await;
                let reply = match answer {
                    Ok(answer) => answer.reply(Protocol::Http),
                    Err(reason) => Reply::retry(reason),
                };
                let took = matches!(reply, Reply::Delivered(_));
                member.rests_until = (!took).then(|| Instant::now() + REST);
                reply
            }
        });
        let replies = futures_util::future::join_all(posts).await;
        best(replies)
    }
}

impl Sink for Alertmanager {
    fn capacity(&self) -> Capacity {
        Capacity::ONE
    }

    fn send<'a>(&'a mut self, events: &'a [Event]) -> Pending<'a, Reply> {
        Box::pin(async move {
            let mut alerts = Vec::new();
            for event in events {
                match event.parse() {
                    Ok(event) => alerts.extend(self.book.tell(&event, SystemTime::now())),
                    Err(reason) => return Reply::Refused(reason),
                }
            }
            self.post(&alerts).await
        })
    }

    fn due(&self) -> Option<Instant> {
        (!self.book.is_empty()).then_some(self.due)
    }

    fn tick(&mut self) -> Pending<'_, ()> {
        self.due = Instant::now() + self.resend;
        Box::pin(async move {
            let alerts = self.book.again(SystemTime::now());
            if let Reply::Retry { reason, .. } | Reply::Refused(reason) = self.post(&alerts).await {
                tracing::warn!(reason, alerts = alerts.len(), "alerts not repeated");
            }
        })
    }
}

/// What the cluster as a whole said: the best of its members.
fn best(replies: Vec<Reply>) -> Reply {
    let rank = |reply: &Reply| match reply {
        Reply::Delivered(_) => 0,
        Reply::Retry { .. } => 1,
        Reply::Refused(_) | Reply::PartlyRefused(_) => 2,
    };
    replies
        .into_iter()
        .min_by_key(rank)
        .unwrap_or_else(|| Reply::retry("no member"))
}

#[cfg(test)]
mod tests;
