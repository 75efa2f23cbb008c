//! What an evaluation costs, with the flag held: by the provider, and through OpenFeature's client beside providers that do
//! nothing.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use archipelago_examples::Result;
use open_feature::{
    EvaluationContext, EvaluationResult, OpenFeature, StructValue, async_trait,
    provider::{FeatureProvider, NoOpProvider, ProviderMetadata, ResolutionDetails},
};

use crate::{provider::FlagProvider, regions::World, samples::SAMPLES};

const ROUNDS: usize = 31;
const CALLS: u32 = 5_000;

/// Prints all of it.
pub async fn all() -> Result<()> {
    let world = World::embedded().await?;
    let [us, _] = &world.flags;
    for (name, definition) in SAMPLES {
        us.set(name, definition).await?;
    }
    let mut ours = FlagProvider::new(us.clone());
    ours.initialize(&EvaluationContext::default()).await;
    let anybody = EvaluationContext::default();
    let ada = EvaluationContext::default()
        .with_targeting_key("ada")
        .with_custom_field("country", "US")
        .with_custom_field("email", "ada@example.com");
    let mut api = OpenFeature::default();
    let mut through = Vec::new();
    for name in ["archipelago", "constant", "no-op"] {
        match name {
            "archipelago" => api.set_named_provider(name, ours.clone()).await,
            "constant" => api.set_named_provider(name, Constant::default()).await,
            _ => api.set_named_provider(name, NoOpProvider::default()).await,
        }
        through.push((name, api.create_named_client(name)));
    }
    println!(
        "{} build, median of {ROUNDS} rounds of {CALLS} calls each:",
        if cfg!(debug_assertions) { "debug" } else { "release" }
    );
    let held = us.held("sample-discount");
    print("the near cache alone, one value; an evaluation takes two", async || {
        drop(black_box(held.definition.cached()))
    })
    .await;
    print("provider, float flag without rules", async || {
        drop(black_box(ours.resolve_float_value("sample-discount", &anybody).await));
    })
    .await;
    print("provider, boolean flag with three rules, the last a rollout", async || {
        drop(black_box(ours.resolve_bool_value("sample-checkout", &ada).await));
    })
    .await;
    for (name, client) in &through {
        print(&format!("OpenFeature's client, provider {name}, the same flag"), async || {
            drop(black_box(client.get_bool_details("sample-checkout", Some(&ada), None).await));
        })
        .await;
    }
    world.close().await;
    Ok(())
}

async fn print(what: &str, call: impl AsyncFn()) {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..CALLS {
            call().await;
        }
        rounds.push(began.elapsed());
    }
    rounds.sort_unstable();
    let median = rounds.get(ROUNDS / 2).copied().unwrap_or(Duration::ZERO) / CALLS;
    println!("{:>8} ns  {what}", median.as_nanos());
}

/// Answers the same, whatever it is asked: what OpenFeature's own part costs. Its no-op provider answers an error.
struct Constant(ProviderMetadata);

impl Default for Constant {
    fn default() -> Self {
        Self(ProviderMetadata::new("constant"))
    }
}

#[async_trait]
impl FeatureProvider for Constant {
    fn metadata(&self) -> &ProviderMetadata {
        &self.0
    }

    async fn resolve_bool_value(&self, _: &str, _: &EvaluationContext) -> EvaluationResult<ResolutionDetails<bool>> {
        Ok(ResolutionDetails::new(true))
    }

    async fn resolve_int_value(&self, _: &str, _: &EvaluationContext) -> EvaluationResult<ResolutionDetails<i64>> {
        Ok(ResolutionDetails::new(1_i64))
    }

    async fn resolve_float_value(&self, _: &str, _: &EvaluationContext) -> EvaluationResult<ResolutionDetails<f64>> {
        Ok(ResolutionDetails::new(1.0))
    }

    async fn resolve_string_value(
        &self,
        _: &str,
        _: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<String>> {
        Ok(ResolutionDetails::new("on"))
    }

    async fn resolve_struct_value(
        &self,
        _: &str,
        _: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<StructValue>> {
        Ok(ResolutionDetails::new(StructValue::default()))
    }
}
