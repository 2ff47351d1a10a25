//! The keeper of a lab: starts it, writes down that it lives, and ends it when asked, by a signal or by `lab down`.

use super::{Record, SOCKET};
use crate::lab::boot::{BootError, Lab, Prepared, Start};
use crate::lab::kubeconfig;
use crate::lab::real::RealParts;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// What a keeper is told.
#[derive(Debug, Clone)]
pub struct Keeping {
    pub name: String,
    pub detached: bool,
    /// The user's own file, to which the lab's context is added while the lab lives.
    pub kubeconfig: Option<PathBuf>,
    /// How long the lab may stand still while it boots.
    pub ready_within: Duration,
    /// With an ingress gateway and an outside client.
    pub ingress: bool,
    pub real: RealParts,
}

#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("a lab of the name \"{0}\" is up already: `egress-scn lab status` shows it, `egress-scn lab down` ends it")]
    Taken(String),
    #[error("{0}")]
    Boot(#[from] BootError),
    #[error("{0}: {1}")]
    Kubeconfig(PathBuf, String),
    #[error("cannot {0}: {1}")]
    Io(&'static str, io::Error),
    #[error("it was told to end before it was up")]
    Ended,
}

/// How the life of a kept lab ended.
#[derive(Debug)]
pub enum End {
    /// By `lab down`, or by the future that it was kept with.
    Asked,
    /// By itself. Its log was kept here.
    ByItself(Option<PathBuf>),
}

/// A lab that is up, and what it takes to end it.
pub struct Keeper {
    lab: Lab,
    record: Record,
    socket: UnixListener,
}

impl Keeper {
    /// Starts a lab under its name. `stopped` ends the start, as `lab down` does.
    ///
    /// # Errors
    /// The name is taken, the kubeconfig cannot be added to, or the lab does not come up. Nothing is left then.
    pub async fn start(
        keeping: Keeping,
        progress: impl Fn(String) + Send + Sync + 'static,
        stopped: impl Future<Output = ()>,
    ) -> Result<Keeper, KeepError> {
        let taken = |others: &[super::Kept]| others.iter().any(|kept| kept.record.name == keeping.name);
        if taken(&super::all()) {
            return Err(KeepError::Taken(keeping.name));
        }
        if let Some(file) = &keeping.kubeconfig {
            kubeconfig::check(file).map_err(|error| KeepError::Kubeconfig(file.clone(), error))?;
        }
        let context = kubeconfig::context_name(&keeping.name);
        let Keeping { ready_within, ingress, real, .. } = keeping;
        let start = Start { context, ready_within, ingress, real, ..Start::new()? };
        let prepared = Lab::prepare(start, progress).await?;
        let record = Record {
            name: keeping.name.clone(),
            detached: keeping.detached,
            process: std::process::id(),
            since: jiff::Timestamp::now(),
            added_to: keeping.kubeconfig.clone(),
            ready: false,
        };
        record.write(prepared.folder()).map_err(|error| KeepError::Io("write the lab's record", error))?;
        // Both of two that start at once have written their records before either looks: none starts unseen.
        let others: Vec<_> = super::all().into_iter().filter(|kept| kept.folder != prepared.folder()).collect();
        if taken(&others) {
            return Err(KeepError::Taken(keeping.name));
        }
        // The folder is closed to others; so is the socket, should it be moved.
        let socket = prepared.folder().join(SOCKET);
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        let socket = UnixListener::bind(&socket)
            .and_then(|listener| std::fs::set_permissions(&socket, private).map(|()| listener))
            .map_err(|error| KeepError::Io("listen for `lab down`", error))?;
        let lab = boot(prepared, &socket, stopped).await?;
        let mut keeper = Keeper { lab, record, socket };
        if let Err(error) = keeper.announce() {
            keeper.lab.stop().await;
            return Err(error);
        }
        Ok(keeper)
    }

    fn announce(&mut self) -> Result<(), KeepError> {
        if let Some(file) = &self.record.added_to {
            kubeconfig::add(file, &self.lab.kubeconfig())
                .map_err(|error| KeepError::Kubeconfig(file.clone(), error))?;
        }
        self.record.ready = true;
        self.record.write(self.lab.folder()).map_err(|error| KeepError::Io("write the lab's record", error))
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.lab.kubeconfig()
    }

    pub fn folder(&self) -> &Path {
        self.lab.folder()
    }

    /// Keeps the lab until `stopped`, until `lab down`, or until it ends by itself.
    pub async fn keep(mut self, stopped: impl Future<Output = ()>) -> End {
        let asked = tokio::select! {
            () = self.lab.ended() => None,
            () = stopped => Some(None),
            client = asked_to_end(&self.socket) => Some(Some(client)),
        };
        let Some(client) = asked else {
            let kept = self.keep_log();
            // The file must not name a lab that is gone.
            let _ = self.forget();
            return End::ByItself(kept);
        };
        let forgotten = self.forget();
        self.lab.stop().await;
        if let Some(mut client) = client {
            let word = forgotten.err().map_or_else(|| "ended\n".to_string(), |error| format!("{error}\n"));
            let _ = client.write_all(word.as_bytes()).await;
        }
        End::Asked
    }

    /// Takes the lab's context out of the user's kubeconfig.
    fn forget(&self) -> Result<(), String> {
        let Some(file) = &self.record.added_to else { return Ok(()) };
        let context = kubeconfig::context_name(&self.record.name);
        kubeconfig::remove(file, &context)
            .map_err(|error| format!("the lab ended, but {} still has its context: {error}", file.display()))
    }

    fn keep_log(&self) -> Option<PathBuf> {
        let to = super::last_words_path(&self.record.name)?;
        let text = std::fs::read_to_string(self.lab.folder().join(crate::lab::boot::LOG)).ok()?;
        std::fs::create_dir_all(to.parent()?).ok()?;
        crate::lab::folder::write_private(&to, &text).ok()?;
        Some(to)
    }
}

async fn boot(prepared: Prepared, socket: &UnixListener, stopped: impl Future<Output = ()>) -> Result<Lab, KeepError> {
    let client = tokio::select! {
        lab = prepared.boot() => return Ok(lab?),
        () = stopped => None,
        client = asked_to_end(socket) => Some(client),
    };
    if let Some(mut client) = client {
        let _ = client.write_all(b"ended\n").await;
    }
    Err(KeepError::Ended)
}

/// The client that says `end`. Others say nothing or something else, and are let go.
async fn asked_to_end(socket: &UnixListener) -> UnixStream {
    let mut clients = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((client, _)) => { clients.spawn(word(client)); }
                // Out of descriptors: an earlier client must go first.
                Err(_) if clients.is_empty() => std::future::pending::<()>().await,
                Err(_) => {}
            },
            Some(told) = clients.join_next() => {
                if let Ok((client, word)) = told && word == "end" {
                    return client;
                }
            }
        }
    }
}

/// What a client says; nothing longer than a word is read.
async fn word(mut client: UnixStream) -> (UnixStream, String) {
    let mut said = String::new();
    let _ = BufReader::new((&mut client).take(16)).read_line(&mut said).await;
    (client, said.trim().to_string())
}
