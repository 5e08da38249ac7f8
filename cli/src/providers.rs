//! The providers that the commands know, and the change of a session's provider.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use tokenkeeper::issuers::providers::{ProviderFacts, Providers};
use tokenkeeper::{AuthSession, ConfigureError, ProviderName, RenewalPlan};

use crate::failure::Failure;
use crate::home::Keeper;
use crate::paint::harmless;

/// The option that adds providers.
#[derive(Debug, clap::Args)]
pub(crate) struct ProvidersArguments {
    /// A file with providers of your own, and with changes to known ones [default: $XDG_CONFIG_HOME/tokenkeeper/providers.json
    /// or ~/.config/tokenkeeper/providers.json, if it exists]
    #[arg(
        long = "providers",
        global = true,
        value_name = "FILE",
        env = "TOKENKEEPER_PROVIDERS",
        hide_env_values = true
    )]
    providers_file: Option<PathBuf>,
}

impl ProvidersArguments {
    /// The built-in providers, with those of the file.
    pub(crate) fn read(&self) -> Result<Providers, Failure> {
        let builtin = Providers::builtin();
        let Some(file) = self.providers_file.clone().or_else(|| usual_file().filter(|file| file.exists())) else {
            return Ok(builtin);
        };
        guarded(&file)?;
        builtin.with_file(&file).map_err(|error| Failure::Usage(error.to_string()))
    }
}

/// The file that is read if none is named.
fn usual_file() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(config.join("tokenkeeper").join("providers.json"))
}

/// Refuses a file that every user of the machine can write, because it decides where tokens and secrets are sent.
#[cfg(unix)]
pub(crate) fn guarded(file: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    const WRITABLE_BY_ALL: u32 = 0o002;
    // A file without readable metadata is not refused here. Reading it fails, with the reason.
    let is_open = file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & WRITABLE_BY_ALL != 0);
    if !is_open {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "every user of this machine can write {}, which decides where secrets are sent: check what is in \
         it, and take that right away (chmod o-w)",
        file.display()
    )))
}

#[cfg(not(unix))]
pub(crate) fn guarded(_: &Path) -> Result<(), Failure> {
    Ok(())
}

/// Requires that `providers` has one with this name.
pub(crate) fn require(providers: &Providers, name: &str) -> Result<(), Failure> {
    if providers.named(name).is_some() {
        return Ok(());
    }
    let names = providers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    Err(Failure::Usage(format!(
        "--provider: no provider has this name: take one of {names}, or add it to a file of providers (--providers)"
    )))
}

/// The failure of a login at the API of a provider whose row lacks the data for a login.
pub(crate) fn no_login(providers: &Providers, name: &str) -> Failure {
    let has_login = |facts: &ProviderFacts| facts.authorization_server().is_some() || facts.issuer.is_some();
    let names: Vec<_> = providers.iter().filter(|(_, facts)| has_login(facts)).map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    Failure::Usage(match providers.named(name) {
        Some(_) => format!(
            "each customer of {name} has an authorization server of its own: name yours in a file of providers (--providers), \
             with an entry that extends {name} and has its `issuer`"
        ),
        None => format!(
            "no provider is named {}: take one of {names}, or add it to a file of providers (--providers)",
            harmless(name)
        ),
    })
}

/// Stores `provider` as the provider of `session`, unless it is stored already. A session without a login is not changed.
pub(crate) async fn store(keeper: &Keeper, session: &AuthSession, provider: &str) -> Result<(), Failure> {
    let name = ProviderName::new(provider.to_owned()).map_err(|error| Failure::Usage(error.to_string()))?;
    let record = keeper.store.inspect(session.identity()).await?;
    let Some(plan) = record.as_ref().and_then(|record| Some(record.grant()?.renewal.clone())) else { return Ok(()) };
    if plan.provider.as_ref() == Some(&name) {
        return Ok(());
    }
    match session.configure(RenewalPlan { provider: Some(name), ..plan }).await {
        Ok(()) => Ok(()),
        Err(ConfigureError::StoreTrouble(fault)) => Err(Failure::store_fault(fault, &keeper.store)),
        Err(error) => Err(Failure::Failed(io::Error::other(error))),
    }
}
