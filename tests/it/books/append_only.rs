//! What is written stays written.

use sqlx::AssertSqlSafe;

use super::world;

#[tokio::test]
async fn journal_prices_factors_and_versions_cannot_be_changed() {
    let service = world().await;
    for table in ["transfers", "prices", "factors", "tenant_versions", "budget_versions"] {
        let rows = |statement: String| {
            let pool = service.db.pool().clone();
            async move { sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement)).fetch_one(&pool).await.unwrap() }
        };
        let before = rows(format!("select count(*) from {table}")).await;
        assert!(before > 0, "{table} holds nothing that could be lost");
        for statement in [
            format!("update {table} set recorded_at = recorded_at"),
            format!("delete from {table}"),
            format!("delete from {table} where false"),
            format!("truncate {table}"),
            format!("truncate {table} cascade"),
        ] {
            let refused = sqlx::query(AssertSqlSafe(statement.clone())).execute(service.db.pool()).await.unwrap_err();
            let code = refused.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap();
            assert_eq!(code, "23001", "{statement}: {refused}");
            assert!(refused.to_string().contains(&format!("{table} is append-only")), "{statement}: {refused}");
        }
        assert_eq!(rows(format!("select count(*) from {table}")).await, before);
    }
}
