//! The books that a command works on: found, never made, and named.
//!
//! Only `serve`, `demo` and `migrate` make a folder or a database. A name that was misspelt must not become an empty ledger
//! that is found to be right, reconciled or closed.

use std::io::Write;

use anyhow::Context;
use sqlx::{Connection, PgConnection};

use crate::config::{Environment, StoreArgs, StoreChoice};
use crate::store::embedded::{Ownership, PrivatePostgres, Report};
use crate::store::migrations::has_books;
use crate::store::open::{Opened, open_store};

/// Opens the books that the options name, and says on stderr which they are.
///
/// # Errors
/// When there are none.
pub(super) async fn open_books(store: &StoreArgs, environment: &Environment, report: Report) -> anyhow::Result<Opened> {
    if let StoreChoice::Private { data_dir } = store.choose(environment)? {
        let shown = data_dir.display();
        anyhow::ensure!(
            data_dir.is_dir(),
            "there is no folder {shown}: name the one that `serve` uses with --data-dir"
        );
        anyhow::ensure!(
            PrivatePostgres::is_made(&data_dir),
            "there are no books in {shown}: name the folder that `serve` uses with --data-dir, or start `serve` there"
        );
    }
    let opened = open_store(store, environment, Ownership::Beside, report).await?;
    let place = opened.place();
    let there = async {
        let mut connection = PgConnection::connect_with(&opened.connect_options()).await?;
        let there = has_books(&mut connection).await?;
        connection.close().await?;
        anyhow::Ok(there)
    };
    match there.await.with_context(|| format!("cannot look at {place}")) {
        Ok(true) => {}
        Ok(false) => {
            opened.stop().await?;
            anyhow::bail!(
                "there are no books at {place}: `counterfoil serve` makes them, `counterfoil migrate` their tables"
            );
        }
        Err(error) => {
            opened.stop().await?;
            return Err(error);
        }
    }
    // Nobody reads stderr: then there is nobody to tell.
    let _unread = writeln!(std::io::stderr(), "books: {place}");
    Ok(opened)
}
