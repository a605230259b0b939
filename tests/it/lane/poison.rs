//! A command that the database refuses.

use serde_json::json;

use counterfoil::lane::LaneError;

use crate::support::audit::{assert_none, findings};
use crate::support::commands::{But, post_usage, reserve};
use crate::support::service::TestService;
use crate::support::story::{acme, budget};

#[tokio::test]
async fn a_command_that_the_database_refuses_harms_none_of_its_neighbours() {
    let service = TestService::start().await;
    acme(&service).await;
    let each = json!({"scope": {}, "each": "run", "period": {"kind": "once"}});
    budget(&service, "runs", "tokens", "1000", each).await;
    sqlx::query("alter table transfers add constraint no_poison check (feature <> 'poison')")
        .execute(service.db.pool())
        .await
        .unwrap();
    let poisoned = [17_usize, 18, 150];
    // Counters that are new: those made by the tries that are refused must not be taken for made.
    let commands = (0..200).map(|number| {
        let command = if number % 2 == 0 { post_usage(3) } else { reserve(2) }.of_run(&format!("run-{}", number / 4));
        if poisoned.contains(&number) { post_usage(1).of_feature("poison").of_run("run-4") } else { command }
    });
    let answers = service.app.lane.submit_all(commands.collect()).await;
    for (number, answer) in answers.into_iter().enumerate() {
        match answer {
            Err(error) => assert!(error == LaneError::Unwritable && poisoned.contains(&number), "{number}: {error}"),
            Ok(decided) => assert!(decided.is_ok() && !poisoned.contains(&number), "{number}"),
        }
    }
    assert_none(&findings(service.db.pool()).await);
}
