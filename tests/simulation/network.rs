//! The transport of the simulated worlds: requests become entries of the world's log and land when they are due.

use super::course::{Course, Reply};
use super::log::Log;
use super::plan::Moment;
use super::world::{Due, Parts, Shared};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use releaseclosure::closure::snapshot::Trouble;
use releaseclosure::providers::meter::Verb;
use releaseclosure::providers::rest::transport::{Body, Incoming, NoReply, Outgoing, Transport};
use releaseclosure::sandbox::{Answer, PREFIX, Role};

tokio::task_local! {
    /// The pass that runs, for the log: the engine knows nothing of it.
    pub static PASS: usize;
}

/// One process's way to the systems.
pub struct Network {
    pub shared: Shared,
    pub host: usize,
    pub life: u32,
}

#[async_trait]
impl Transport for Network {
    async fn send(&self, request: Outgoing) -> Result<Incoming, NoReply> {
        let pass = PASS.try_with(|pass| *pass).unwrap_or_default();
        let Some((index, course)) = self.dispatch(request, pass) else { return never().await };
        let Some(heard) = course.heard else { return never().await };
        tokio::time::sleep_until(self.shared.at(heard)).await;
        match self.hear(index, &course) {
            Some(reply) => reply,
            None => never().await,
        }
    }

    fn now(&self) -> jiff::Timestamp {
        self.shared.lock().clock(self.host)
    }
}

async fn never<T>() -> T {
    std::future::pending().await
}

impl Network {
    /// What its sender hears, if it still lives.
    fn hear(&self, index: usize, course: &Course) -> Option<Result<Incoming, NoReply>> {
        let mut world = self.shared.lock();
        if world.hosts[self.host].life != self.life {
            return None;
        }
        if course.crash == Some(Moment::After) {
            world.crash(self.host);
        }
        let answer = world.answers.remove(&index);
        let now = world.now;
        Some(reply(&mut world.log, (index, now), course.reply, answer))
    }

    /// Writes a request down and sends it on its way. None where its sender is no more.
    fn dispatch(&self, request: Outgoing, pass: usize) -> Option<(usize, Course)> {
        let (verb, address, headers, body) = request.into_parts();
        let (method, name) = match verb {
            Verb::Get => (Method::GET, "GET"),
            Verb::Head => (Method::HEAD, "HEAD"),
            Verb::Patch => (Method::PATCH, "PATCH"),
            Verb::Post => (Method::POST, "POST"),
        };
        let target = &address[url::Position::BeforePath..];
        let mut world = self.shared.lock();
        let world = &mut *world;
        if world.hosts[self.host].life != self.life {
            return None;
        }
        let below = target.strip_prefix(PREFIX).expect("below the endpoint");
        let index = world.log.sent(world.now, (self.host, self.life, pass), name, below, &headers, &body);
        let role: Role = world.log.asked[index].role;
        let entry = &world.log.passes[pass];
        let (uid, view) = (&world.cluster.objects[entry.object].uid, &world.hosts[self.host].views[entry.slot]);
        let same = view.as_ref().is_some_and(|view| view.uid == *uid && view.generation == entry.generation);
        world.log.asked[index].overtaken = !same;
        let course = world.course(role, verb != Verb::Get);
        let lands = course.lands.filter(|_| course.crash != Some(Moment::Before));
        if let Some((at, effect, stale)) = lands {
            let parts = Parts { method, target: target.to_owned(), headers, body, effect, stale };
            world.later(at, Due::Serve(index, Box::new(parts)));
        }
        if matches!(course.crash, Some(Moment::Before | Moment::Between)) {
            world.crash(self.host);
            return None;
        }
        Some((index, course))
    }
}

fn reply(log: &mut Log, (index, now): (usize, u64), reply: Reply, answer: Option<Answer>) -> Result<Incoming, NoReply> {
    let mut incoming = |status: u16, headers: HeaderMap, body: Vec<u8>, end: Option<Trouble>| {
        let whole = matches!(reply, Reply::Answer | Reply::Status { own: true, .. });
        let hold = headers.get(header::RETRY_AFTER).filter(|_| matches!(status, 429 | 503));
        let hold = hold.and_then(|value| value.to_str().ok()?.parse().ok());
        log.heard(index, now, (Some(status), whole), hold);
        Ok(Incoming { status, headers, length: None, body: Box::new(Whole { piece: Some(body.into()), end }) })
    };
    let typed = |media_type: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers
    };
    match (reply, answer) {
        (Reply::NotSent, _) => Err(NoReply::NotSent),
        (Reply::Broken, _) => Err(NoReply::Unknown),
        (Reply::Status { code, retry_after, own }, _) => {
            let mut headers = typed(if own { "application/problem+json" } else { "text/html" });
            headers.extend(retry_after.map(|seconds| (header::RETRY_AFTER, HeaderValue::from(seconds))));
            let body = if own { "{\"title\":\"made up\"}" } else { "<html>" };
            incoming(code, headers, body.into(), None)
        }
        (Reply::Page, _) => incoming(200, typed("text/html"), b"<html>".to_vec(), None),
        (Reply::Garbage, _) => incoming(200, typed("application/json"), b"{\"id\": \xff<oops".to_vec(), None),
        // What has not landed when it should be heard of has nothing to say.
        (_, None) => Err(NoReply::Unknown),
        (Reply::CutOff, Some(Answer { status, headers, mut body, .. })) => {
            body.truncate(body.len() / 2);
            incoming(status, headers, body, Some(Trouble::NotUnderstood))
        }
        (Reply::Answer, Some(Answer { status, headers, body, .. })) => incoming(status, headers, body, None),
    }
}

struct Whole {
    piece: Option<Bytes>,
    end: Option<Trouble>,
}

#[async_trait]
impl Body for Whole {
    async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        match (self.piece.take(), self.end) {
            (Some(piece), _) => Ok(Some(piece)),
            (None, Some(trouble)) => Err(trouble),
            (None, None) => Ok(None),
        }
    }
}
