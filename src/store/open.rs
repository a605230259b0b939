//! Which Postgres a command talks to: the one of a URL, or the private one of a folder; and that it is new enough.
//!
//! Deliberately absent: pools, roles and migrations; whoever asked knows what it needs.

use std::fmt;
use std::path::Path;

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use super::embedded::{EmbeddedError, Fetch, MAJOR_MIN, Options, Ownership, PrivatePostgres, Report, find::Search};
use crate::config::{ConfigError, DatabaseUrl, Environment, FetchPostgres, StoreArgs, StoreChoice};

/// What `sqlx` calls a user that it could not find out.
const NO_USER: &str = "anonymous";

/// Why no Postgres could be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The private Postgres could not be opened.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The URL is none.
    #[error("the database URL is not usable: {problem}; expected postgres://user:password@host:port/database")]
    BadUrl {
        /// What is wrong with it, without the URL: it may hold a password.
        problem: String,
    },
    /// The server does not let us in.
    #[error("could not connect to {place}")]
    Connect {
        /// User, host and database.
        place: String,
        /// What the server or the system said.
        #[source]
        source: sqlx::Error,
    },
    /// The database cannot keep every text.
    #[error(
        "{place} has the encoding {found}, and UTF8 is needed: make another database with \
         `create database NAME encoding 'UTF8' template template0`, and name it in the URL"
    )]
    Encoding {
        /// User, host and database.
        place: String,
        /// Its encoding.
        found: String,
    },
    /// The server is too old.
    #[error("{place} is Postgres {found}, and {MAJOR_MIN} or newer is needed")]
    TooOld {
        /// User, host and database.
        place: String,
        /// Its version.
        found: String,
    },
}

/// A Postgres that answers.
pub struct Opened {
    options: PgConnectOptions,
    private: Option<PrivatePostgres>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Opened").field("place", &self.place()).finish_non_exhaustive()
    }
}

impl Opened {
    /// How to connect; the password, if any, is inside: never print it with `Debug`.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// User, host and database, for people; without a password.
    #[must_use]
    pub fn place(&self) -> String {
        place(&self.options)
    }

    /// The private Postgres, if it is one.
    #[must_use]
    pub fn private(&self) -> Option<&PrivatePostgres> {
        self.private.as_ref()
    }

    /// Waits until a private server that we own has ended by itself, which no service survives; for ever otherwise.
    pub async fn ended(&self) {
        match &self.private {
            Some(private) => private.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Stops a private server that we own. Close the pools before.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::NotStopping`] if it is still there after a minute.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        match self.private {
            Some(private) => private.stop().await,
            None => Ok(()),
        }
    }
}

/// Opens the Postgres that the options and the environment name, and waits until it answers.
///
/// # Errors
///
/// [`OpenError`] says what stood in the way and what to do.
pub async fn open_store(
    args: &StoreArgs,
    environment: &Environment,
    ownership: Ownership,
    report: Report,
) -> Result<Opened, OpenError> {
    match args.choose(environment)? {
        StoreChoice::Server(url) => {
            let options = parse(&url, environment)?;
            check_server(&options).await?;
            Ok(Opened { options, private: None })
        }
        StoreChoice::Private { data_dir } => {
            let options = private_options(args, environment, &data_dir, ownership, report);
            let private = PrivatePostgres::open(&data_dir, options).await?;
            Ok(Opened { options: private.connect_options(), private: Some(private) })
        }
    }
}

/// How the private Postgres of a folder is opened, as the options and the environment say.
#[must_use]
pub fn private_options(
    args: &StoreArgs,
    environment: &Environment,
    data_dir: &Path,
    ownership: Ownership,
    report: Report,
) -> Options {
    let search = Search {
        configured: environment.pg_bin.clone(),
        path: environment.path.clone(),
        root: "/".into(),
        cache_dir: environment.cache_dir_default().unwrap_or_else(|| data_dir.join("programs")),
    };
    let mut options = Options::new(search);
    options.ownership = ownership;
    options.report = report;
    options.fetch = match args.fetch_postgres {
        FetchPostgres::Auto => Fetch::WhenMissing,
        FetchPostgres::Never => Fetch::Never,
    };
    options
}

/// Reads a URL. Errors never repeat it.
fn parse(url: &DatabaseUrl, environment: &Environment) -> Result<PgConnectOptions, OpenError> {
    let text = url.reveal();
    let bad = |problem: &str| OpenError::BadUrl { problem: problem.to_owned() };
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err(bad("it does not start with postgres:// or postgresql://"));
    }
    let options: PgConnectOptions = text.parse().map_err(|error: sqlx::Error| bad(&error.to_string()))?;
    if options.get_username() != NO_USER || text.contains(NO_USER) {
        return Ok(options);
    }
    // As psql does it: who names no user means themselves.
    let user = environment.user.as_deref().ok_or_else(|| bad("it names no user"))?;
    Ok(options.username(user))
}

async fn check_server(options: &PgConnectOptions) -> Result<(), OpenError> {
    let failed = |source| OpenError::Connect { place: place(options), source };
    let mut connection = PgConnection::connect_with(options).await.map_err(failed)?;
    let asked = "select current_setting('server_version_num')::int4, current_setting('server_version'), \
                 current_setting('server_encoding')";
    let (number, found, encoding): (i32, String, String) =
        sqlx::query_as(asked).fetch_one(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    match u32::try_from(number) {
        Ok(number) if number / 10_000 >= MAJOR_MIN && encoding == "UTF8" => Ok(()),
        Ok(number) if number / 10_000 >= MAJOR_MIN => {
            Err(OpenError::Encoding { place: place(options), found: encoding })
        }
        Ok(_) | Err(_) => Err(OpenError::TooOld { place: place(options), found }),
    }
}

fn place(options: &PgConnectOptions) -> String {
    let user = options.get_username();
    let database = options.get_database().unwrap_or(user);
    match options.get_socket() {
        Some(socket) => format!("{user} at {} ({database})", socket.display()),
        None => format!("{user} at {}:{} ({database})", options.get_host(), options.get_port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, user: Option<&str>, expect: Result<&str, &str>) {
        let environment = Environment { user: user.map(str::to_owned), ..Environment::default() };
        let Ok(parsed) = url.parse::<DatabaseUrl>();
        match (parse(&parsed, &environment), expect) {
            (Ok(options), Ok(expected)) => assert_eq!(place(&options), expected, "{url}"),
            (Err(error), Err(part)) => {
                let text = error.to_string();
                assert!(text.contains(part) && !text.contains("hunter2"), "{text}");
            }
            (Ok(options), Err(_)) => panic!("{url}: {}", place(&options)),
            (Err(error), Ok(_)) => panic!("{url}: {error}"),
        }
    }

    #[test]
    fn urls_are_read_and_refused_without_showing_their_password() {
        check("postgres://bob:hunter2@db:6000/books", None, Ok("bob at db:6000 (books)"));
        check("postgresql://bob@db/books", Some("alice"), Ok("bob at db:5432 (books)"));
        check("postgres://db/books", Some("alice"), Ok("alice at db:5432 (books)"));
        check("postgres://bob@localhost/books?host=/run/pg", None, Ok("bob at /run/pg (books)"));
        check("postgres://db/books", None, Err("names no user"));
        check("mysql://bob:hunter2@db/books", None, Err("does not start with postgres://"));
        check("postgres://bob:hunter2@db:port/books", None, Err("invalid port"));
        check("hunter2", None, Err("does not start with"));
    }
}
