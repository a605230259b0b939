//! `/v1/exports`: files that tie to the trial balance, in every format, for any period, and only for who may have them.

mod corrected;
mod focus;
mod ghg;
mod pages;
mod parquet;
mod plaintext;
mod sci;
mod transfers;
mod walk;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use counterfoil::auth::Scope;
use rust_decimal::Decimal;

use crate::support::service::Replica;

/// A file, with the headers it came with.
pub(crate) struct File {
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl File {
    fn header(&self, name: &str) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    fn names(&self) -> Vec<String> {
        csv::Reader::from_reader(self.bytes.as_slice()).headers().unwrap().iter().map(str::to_owned).collect()
    }

    fn rows(&self) -> Vec<csv::StringRecord> {
        csv::Reader::from_reader(self.bytes.as_slice()).records().map(Result::unwrap).collect()
    }

    /// One column of a CSV file, top down.
    pub(crate) fn column(&self, name: &str) -> Vec<String> {
        let place = self.names().iter().position(|one| one == name).unwrap_or_else(|| panic!("no column {name}"));
        self.rows().iter().map(|row| row[place].to_owned()).collect()
    }

    /// What a column adds up to.
    fn sum(&self, name: &str) -> Decimal {
        let cells = self.column(name);
        cells.iter().filter(|cell| !cell.is_empty()).map(|cell| cell.parse::<Decimal>().unwrap()).sum()
    }
}

fn get(token: &str, path: &str) -> Request<Body> {
    Request::get(path).header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()
}

/// A file, as the platform's exporter.
pub(crate) async fn export(service: &Replica, path: &str) -> File {
    export_as(service, &service.token(&[Scope::Export], None), path).await
}

async fn export_as(service: &Replica, token: &str, path: &str) -> File {
    let (status, headers, bytes) = service.fetch(get(token, path)).await;
    let bytes = bytes.unwrap();
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&bytes));
    File { headers, bytes }
}

/// The debit side of each unit of the trial balance, of one tenant or of all.
async fn trial_balance(service: &Replica, tenant: Option<&str>) -> Vec<(String, Decimal)> {
    let query = tenant.map_or(String::new(), |tenant| format!("?tenant={tenant}"));
    let body = service.call("GET", &format!("/v1/ledger/trial-balance{query}"), serde_json::Value::Null).await.ok();
    let units = body["units"].as_array().unwrap();
    assert!(units.iter().all(|unit| unit["difference"] == "0"), "{body:#}");
    let unit = |unit: &serde_json::Value| {
        (unit["unit"].as_str().unwrap().to_owned(), unit["debit"].as_str().unwrap().parse().unwrap())
    };
    units.iter().map(unit).collect()
}
