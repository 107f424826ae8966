//! Runs a plugin in meshrun itself, for debuggers and profilers.

use std::sync::{Arc, mpsc};

use meshrun_protocol::Failure;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::{
    Doing, HostServices, Limits, PluginError,
    artifact::Artifact,
    frame::{Frame, Kind},
    load::{Module, Services},
    services::{self, failure},
};

/// Asks a plugin on a thread of its own; the answer is JSON.
pub(super) async fn ask(
    artifact: &Arc<Artifact>,
    doing: Doing,
    question: Frame,
    services: &dyn HostServices,
    limits: &Limits,
) -> Result<String, PluginError> {
    let module = artifact.module()?;
    let plugin = || artifact.label().to_owned();
    let (sender, mut events) = unbounded_channel();
    let (to_host, cancel) = (sender.clone(), limits.cancel.clone());
    // Not a thread of the runtime, which would wait at its end for a plugin that hangs.
    std::thread::Builder::new()
        .name("meshrun-plugin".into())
        .spawn(move || {
            let answer = answer(module, &question, &Bridge { to_host, cancel });
            // Nobody waits any more after a timeout.
            let _ = sender.send(Event::Done(answer));
        })
        .map_err(|source| PluginError::Start { plugin: plugin(), source })?;

    let deadline = tokio::time::sleep(limits.timeout);
    tokio::pin!(deadline);
    loop {
        let event = tokio::select! {
            () = limits.cancel.cancelled() => return Err(PluginError::Cancelled { plugin: plugin(), doing }),
            () = &mut deadline => {
                let (plugin, limit) = (plugin(), limits.timeout);
                return Err(PluginError::TimedOut { plugin, doing, limit, output: String::new() });
            }
            event = events.recv() => event,
        };
        match event {
            Some(Event::Service { service, request, reply }) => {
                // A plugin that does not listen any more will not miss it.
                let _ = reply.send(services::answer(services, &service, &request).await);
            }
            Some(Event::Emit(event)) => services::emit(services, &event),
            Some(Event::Done(answer)) => {
                let failed =
                    |failure| PluginError::Failed { plugin: plugin(), doing, failure: Box::new(failure) };
                return answer.map_err(failed);
            }
            None => {
                let detail = "its thread ended".into();
                return Err(PluginError::Unreadable { plugin: plugin(), doing, detail });
            }
        }
    }
}

fn answer(module: Module, question: &Frame, bridge: &Bridge) -> Result<String, Failure> {
    match question.kind {
        Kind::Describe => module.describe().map(|description| serde_json::json!(description).to_string()),
        _ => module.call(bridge, &question.name, &question.body),
    }
}

/// What a plugin's thread tells the task that waits for it.
enum Event {
    Service { service: String, request: String, reply: mpsc::Sender<Result<String, Failure>> },
    Emit(String),
    Done(Result<String, Failure>),
}

struct Bridge {
    to_host: UnboundedSender<Event>,
    cancel: CancellationToken,
}

impl Services for Bridge {
    fn call(&self, service: &str, request: &str) -> Result<String, Failure> {
        let (reply, answer) = mpsc::channel();
        let event = Event::Service { service: service.into(), request: request.into(), reply };
        let given_up = || failure("service", format!("call {service}: nobody waits for the answer any more"));
        self.to_host.send(event).map_err(|_| given_up())?;
        answer.recv().map_err(|_| given_up())?
    }

    fn emit(&self, event: &str) {
        // As above.
        let _ = self.to_host.send(Event::Emit(event.into()));
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
