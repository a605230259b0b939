//! `counterfoil token`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use chrono::TimeDelta;

use super::boot::token_rules;
use crate::auth::{Caller, LocalKey, Scope, ScopeSet, mint};
use crate::clock::Clock;
use crate::config::{AuthArgs, Environment, StoreArgs};
use crate::domain::id::TenantId;

/// Mint a token with the local key, and print it bare. The key is the one that `serve` has made; none is made here.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  TOKEN=$(counterfoil token --scope preflight --scope usage:write --tenant acme --ttl 3600)"
)]
pub struct TokenArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    auth: AuthArgs,
    /// What it may do: preflight, usage:write, read, export, admin; repeat for more
    #[arg(long, value_name = "SCOPE", required = true)]
    scope: Vec<String>,
    /// The only tenant whose things it may touch
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
    /// How long it is valid, in seconds: 1 to 31,622,400
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    ttl: u32,
    /// Who it is for; shown in logs
    #[arg(long, value_name = "NAME", default_value = "local")]
    subject: String,
}

pub(super) fn run(args: &TokenArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let parse = |name: &String| {
        Scope::parse(name)
            .with_context(|| format!("scope `{name}` is not preflight, usage:write, read, export or admin"))
    };
    let scopes = args.scope.iter().map(parse).collect::<anyhow::Result<Vec<_>>>()?;
    let keys_dir = args.auth.keys_dir(&args.store, environment)?;
    let key = LocalKey::load(&keys_dir)?;
    // Nobody reads stderr: then there is nobody to tell.
    let _unread = writeln!(std::io::stderr(), "signed with the key of {}", keys_dir.display());
    let caller = Caller {
        subject: Arc::from(args.subject.as_str()),
        scopes: ScopeSet::of(&scopes),
        tenant: args.tenant.clone(),
    };
    let ttl = TimeDelta::seconds(i64::from(args.ttl));
    let token = mint(&key, &token_rules(&args.auth), &caller, Clock::system().now(), ttl)?;
    writeln!(std::io::stdout(), "{token}")?;
    Ok(ExitCode::SUCCESS)
}
