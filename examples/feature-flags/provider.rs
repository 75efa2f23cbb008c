//! The provider: OpenFeature evaluations from the near cache of the local region.
//!
//! Promised: an evaluation of a flag that is held takes no network; a killed flag serves its default variant with reason
//! `DISABLED`, never a rule's; whatever is stored or asked for, the answer is a value or an error in words.
//!
//! Not promised: that a change is seen here the moment it is acknowledged elsewhere (the link's delay, then half a round
//! trip). Nor an answer while the local region is down: then nothing is held, and the caller's own default has to do.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use archipelago::{Error, ErrorKind, near::Tracking};
use futures_util::{StreamExt, stream};
use open_feature::{
    EvaluationContext, EvaluationError, EvaluationErrorCode as Code, EvaluationResult, StructValue, Type, Value,
    async_trait,
    provider::{FeatureProvider, ProviderMetadata, ProviderStatus, ResolutionDetails},
};

use crate::{
    changes::{Changes, changes},
    definition::{Stored, check_name},
    store::{Flags, Held, MAX_FLAGS, names_of},
    targeting::{Undecided, decide},
};

/// For how long a start waits for the flags: OpenFeature lets nobody evaluate meanwhile.
const WARM_UP: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);

/// Evaluates the flags of a keyspace. Cheap to clone: keep one to see [`FlagProvider::changes`], since OpenFeature takes one.
#[derive(Clone, Debug)]
pub struct FlagProvider {
    inner: Arc<Inner>,
}

struct Inner {
    flags: Flags,
    metadata: ProviderMetadata,
    is_initialized: AtomicBool,
    /// Of flags that exist: making one anew costs more than an evaluation. At most [`MAX_FLAGS`], so that asking for names
    /// that nobody gave fills no memory.
    known: RwLock<HashMap<String, Held>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("flags", &self.flags).finish_non_exhaustive()
    }
}

impl FlagProvider {
    pub fn new(flags: Flags) -> Self {
        let metadata = ProviderMetadata::new("archipelago");
        let (is_initialized, known) = (AtomicBool::default(), RwLock::default());
        Self { inner: Arc::new(Inner { flags, metadata, is_initialized, known }) }
    }

    /// What each flag is now, and then every change that the local region sees.
    pub fn changes(&self) -> Changes {
        changes(&self.inner.flags)
    }

    /// Reads every flag, so that the first evaluation takes no network either. What cannot be read is read when it is asked
    /// for.
    async fn warm_up(&self) {
        let (names, near) = (self.inner.flags.held_names(), self.inner.flags.near());
        // These kinds are wanted from now on; what is read before the server tells of their changes is not kept.
        let _ = self.inner.flags.held("any");
        let began = Instant::now();
        while matches!(near.stats().tracking, Tracking::Off { .. }) && began.elapsed() < WARM_UP / 2 {
            tokio::time::sleep(LOOK).await;
        }
        let Ok(Some(names)) = names.get().await else { return };
        let read = |name: String| async move { drop(self.flag(&name).await) };
        stream::iter(names_of(&names)).for_each_concurrent(16, read).await;
    }

    /// What a flag is, and whether it is killed.
    async fn flag(&self, name: &str) -> EvaluationResult<(Arc<Stored>, bool)> {
        if let Some(flag) = self.cached(name) {
            return Ok(flag);
        }
        check_name(name).map_err(|why| error(Code::FlagNotFound, why.0))?;
        let held = self.inner.flags.held(name);
        let flag = read(name, &held).await?;
        self.remember(name, held);
        Ok(flag)
    }

    /// The same, if this process holds both.
    fn cached(&self, name: &str) -> Option<(Arc<Stored>, bool)> {
        let known = self.inner.known.read().unwrap_or_else(PoisonError::into_inner);
        let Held { definition, switch } = known.get(name)?;
        Some((definition.cached()??, is_killed(switch.cached()?)))
    }

    fn remember(&self, name: &str, held: Held) {
        let mut known = self.inner.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_FLAGS {
            known.insert(name.to_owned(), held);
        }
    }

    /// Any flag, whatever its type.
    pub async fn resolve(
        &self,
        name: &str,
        user: &EvaluationContext,
    ) -> EvaluationResult<(Type, ResolutionDetails<Value>)> {
        let (stored, is_killed) = self.flag(name).await?;
        let definition = stored.0.as_ref().map_err(|why| malformed(name, &why.0))?;
        let details = details(name, &stored, is_killed, user, |value| Some(value.clone()), "any")?;
        Ok((definition.kind.clone(), details))
    }

    async fn typed<T>(
        &self,
        name: &str,
        user: &EvaluationContext,
        pick: impl Fn(&Value) -> Option<T>,
        asked: &str,
    ) -> EvaluationResult<ResolutionDetails<T>> {
        let (stored, is_killed) = self.flag(name).await?;
        details(name, &stored, is_killed, user, pick, asked)
    }
}

fn is_killed(switch: Option<Arc<bool>>) -> bool {
    switch.is_some_and(|is_on| !*is_on)
}

async fn read(name: &str, held: &Held) -> EvaluationResult<(Arc<Stored>, bool)> {
    // Both or neither: a flag whose switch cannot be read may be killed.
    let read = tokio::try_join!(held.definition.get(), held.switch.get());
    let (stored, switch) = read.map_err(|error| unreadable(name, &error))?;
    let unknown = || error(Code::FlagNotFound, format!("there is no flag {name:?}"));
    Ok((stored.ok_or_else(unknown)?, is_killed(switch)))
}

fn details<T>(
    name: &str,
    stored: &Stored,
    is_killed: bool,
    user: &EvaluationContext,
    pick: impl Fn(&Value) -> Option<T>,
    asked: &str,
) -> EvaluationResult<ResolutionDetails<T>> {
    let definition = stored.0.as_ref().map_err(|why| malformed(name, &why.0))?;
    let decision = decide(name, definition, is_killed, user).map_err(|why| undecided(name, why))?;
    let wrong = || error(Code::TypeMismatch, format!("flag {name:?} is a {}, asked for as {asked}", definition.kind));
    let value = pick(&decision.variant.value).ok_or_else(wrong)?;
    let (variant, reason) = (Some(decision.variant.name.clone()), Some(decision.reason));
    Ok(ResolutionDetails { value, variant, reason, flag_metadata: None })
}

fn error(code: Code, message: String) -> EvaluationError {
    EvaluationError { code, message: Some(message) }
}

fn malformed(name: &str, why: &str) -> EvaluationError {
    error(Code::ParseError, format!("flag {name:?} is malformed: {why}"))
}

fn unreadable(name: &str, why: &Error) -> EvaluationError {
    let code = match why.kind() {
        ErrorKind::Serialization => Code::ParseError,
        _ => Code::General("UNREADABLE".to_owned()),
    };
    error(code, format!("flag {name:?} cannot be read: {why}"))
}

fn undecided(name: &str, why: Undecided) -> EvaluationError {
    let code = match why {
        Undecided::TargetingKeyMissing => Code::TargetingKeyMissing,
        Undecided::TargetingKeyTooLong(_) => Code::InvalidContext,
    };
    error(code, format!("flag {name:?}: {why}"))
}

#[async_trait]
impl FeatureProvider for FlagProvider {
    async fn initialize(&mut self, _context: &EvaluationContext) {
        // Late is no failure: what was not read by then is read when it is asked for.
        let _ = tokio::time::timeout(WARM_UP, self.warm_up()).await;
        self.inner.is_initialized.store(true, Ordering::Release);
    }

    fn status(&self) -> ProviderStatus {
        if !self.inner.is_initialized.load(Ordering::Acquire) {
            return ProviderStatus::NotReady;
        }
        match self.inner.flags.near().stats().tracking {
            Tracking::Off { .. } => ProviderStatus::Error,
            // Refused: values are up to their time to live old, as the configuration says.
            _ => ProviderStatus::Ready,
        }
    }

    fn metadata(&self) -> &ProviderMetadata {
        &self.inner.metadata
    }

    async fn resolve_bool_value(
        &self,
        name: &str,
        user: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<bool>> {
        self.typed(name, user, Value::as_bool, "bool").await
    }

    async fn resolve_int_value(
        &self,
        name: &str,
        user: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<i64>> {
        self.typed(name, user, Value::as_i64, "int").await
    }

    async fn resolve_float_value(
        &self,
        name: &str,
        user: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<f64>> {
        self.typed(name, user, Value::as_f64, "float").await
    }

    async fn resolve_string_value(
        &self,
        name: &str,
        user: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<String>> {
        self.typed(name, user, |value| value.as_str().map(str::to_owned), "string").await
    }

    async fn resolve_struct_value(
        &self,
        name: &str,
        user: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<StructValue>> {
        self.typed(name, user, |value| value.as_struct().cloned(), "struct").await
    }
}
