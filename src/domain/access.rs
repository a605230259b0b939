//! Who may do what: scopes, the tenant a caller is confined to, and the one function that decides.
//!
//! Two rules, in this order: the caller's token must carry a scope the action asks for, and a caller confined to a
//! tenant reaches only that tenant. `admin` implies every scope; with a tenant claim it administers that tenant's own
//! things and nothing else.
//!
//! Deliberately absent: roles, groups, per-object rights. Whether a refusal is shown as 403 or 404 is the shell's affair.

use std::fmt;
use std::sync::Arc;

use super::id::TenantId;

/// What a token allows. The names are those of the `scope` claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Ask for verdicts; end, extend and look at the reservations they made.
    Preflight,
    /// Post usage: settle reservations, record usage without one, import spans, report provider signals.
    UsageWrite,
    /// Look at usage, budgets, books and verdicts.
    Read,
    /// Take whole periods out: invoices, carbon reports, journals.
    Export,
    /// Everything, including the catalogue.
    Admin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 5] = [Self::Preflight, Self::UsageWrite, Self::Read, Self::Export, Self::Admin];

    /// The name in the `scope` claim.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::UsageWrite => "usage:write",
            Self::Read => "read",
            Self::Export => "export",
            Self::Admin => "admin",
        }
    }

    /// The scope of that name, if there is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Preflight => 1,
            Self::UsageWrite => 2,
            Self::Read => 4,
            Self::Export => 8,
            Self::Admin => 16,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of [`Scope`]s.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ScopeSet(u8);

impl ScopeSet {
    /// No scope: a caller that is known and may do nothing.
    pub const EMPTY: Self = Self(0);

    /// The set of these scopes.
    #[must_use]
    pub const fn of(scopes: &[Scope]) -> Self {
        let mut bits = 0;
        let mut rest = scopes;
        while let [first, tail @ ..] = rest {
            bits |= first.bit();
            rest = tail;
        }
        Self(bits)
    }

    /// True if the set names this scope itself (`admin` is not counted as the others here).
    #[must_use]
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// True if any scope is in both.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The scopes, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::EMPTY, |set, scope| Self(set.0 | scope.bit()))
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// Who is calling, as their verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The `sub` claim: kept beside what they write, so that the books say who.
    pub subject: Arc<str>,
    /// What the token allows.
    pub scopes: ScopeSet,
    /// The one tenant this caller sees; `None` is the platform itself.
    pub tenant: Option<TenantId>,
}

/// What a caller asks to do. One per kind of right, not one per route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Compute a cost or a period boundary, read prices, factors and `about`: touches nothing, shows no tenant.
    Consult,
    /// Ask for a verdict, with or without a reservation.
    AskVerdict,
    /// Extend or release a reservation.
    HoldReservation,
    /// Look at one reservation.
    ReadReservation,
    /// Settle a reservation.
    Settle,
    /// Record usage without a reservation, import spans, report a provider's signal.
    PostUsage,
    /// Look at usage, budgets, verdicts, events and the books.
    Read,
    /// Take out a period.
    Export,
    /// Create, replace or archive a budget or webhook, approve a reconciliation.
    Manage,
    /// Create, replace or archive a tenant; add prices and factors: the platform's own acts.
    ManagePlatform,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 10] = [
        Self::Consult,
        Self::AskVerdict,
        Self::HoldReservation,
        Self::ReadReservation,
        Self::Settle,
        Self::PostUsage,
        Self::Read,
        Self::Export,
        Self::Manage,
        Self::ManagePlatform,
    ];

    /// The scopes of which one is enough.
    #[must_use]
    pub const fn scopes(self) -> ScopeSet {
        use Scope::{Admin, Export, Preflight, Read, UsageWrite};
        ScopeSet::of(match self {
            Self::Consult => &[Preflight, UsageWrite, Read, Export, Admin],
            Self::AskVerdict | Self::HoldReservation => &[Preflight, Admin],
            Self::ReadReservation => &[Preflight, UsageWrite, Read, Admin],
            Self::Settle => &[Preflight, UsageWrite, Admin],
            Self::PostUsage => &[UsageWrite, Admin],
            Self::Read => &[Read, Admin],
            Self::Export => &[Export, Admin],
            Self::Manage | Self::ManagePlatform => &[Admin],
        })
    }

    /// True if the action shows or changes nothing that belongs to a tenant.
    const fn touches_no_tenant(self) -> bool {
        matches!(self, Self::Consult)
    }
}

/// Why a caller may not. In order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token carries none of the scopes.
    #[error("the token has none of the scopes that allow this: {needs}")]
    Scope {
        /// Any one of these is enough.
        needs: ScopeSet,
    },
    /// The thing belongs to another tenant.
    #[error("the token is confined to tenant {own} and cannot reach tenant {named}")]
    ForeignTenant {
        /// The tenant of the token.
        own: TenantId,
        /// The tenant that was named.
        named: TenantId,
    },
    /// The thing belongs to the platform, not to one tenant.
    #[error("the token is confined to tenant {own} and this belongs to the whole platform")]
    Platform {
        /// The tenant of the token.
        own: TenantId,
    },
}

/// May this caller do this to a thing of that tenant? `None` is a thing of the whole platform: a provider's quota, the
/// price book, a sum over all tenants.
///
/// # Errors
/// Says why not.
pub fn may(caller: &Caller, action: Action, tenant: Option<&TenantId>) -> Result<(), Denied> {
    if !caller.scopes.meets(action.scopes()) {
        return Err(Denied::Scope { needs: action.scopes() });
    }
    let Some(own) = &caller.tenant else { return Ok(()) };
    match (action, tenant) {
        (Action::ManagePlatform, _) => Err(Denied::Platform { own: own.clone() }),
        (_, Some(named)) if named == own => Ok(()),
        (_, Some(named)) => Err(Denied::ForeignTenant { own: own.clone(), named: named.clone() }),
        (_, None) if action.touches_no_tenant() => Ok(()),
        (_, None) => Err(Denied::Platform { own: own.clone() }),
    }
}

/// The tenant a list or sum covers: what the caller asked for, or their own if they are confined and asked for none.
/// `None` is all tenants.
///
/// # Errors
/// As [`may`].
pub fn confine(caller: &Caller, action: Action, asked: Option<TenantId>) -> Result<Option<TenantId>, Denied> {
    let covered = asked.or_else(|| caller.tenant.clone());
    may(caller, action, covered.as_ref())?;
    Ok(covered)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(text: &str) -> Option<TenantId> {
        (text != "-").then(|| TenantId::parse(text).expect("a test tenant is a slug"))
    }

    fn caller(scopes: &str, confined_to: &str) -> Caller {
        let scopes = scopes.split('+').filter_map(Scope::parse).collect();
        Caller { subject: Arc::from("s"), scopes, tenant: tenant(confined_to) }
    }

    /// Each row: scopes, tenant claim (`-`: none), action, tenant of the thing (`-`: the platform), answer.
    fn check(table: &str) {
        for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let cells: Vec<_> = row.split_whitespace().collect();
            let action = Action::ALL
                .into_iter()
                .find(|action| format!("{action:?}") == cells[2])
                .unwrap_or_else(|| panic!("no action {}", cells[2]));
            let answer = match may(&caller(cells[0], cells[1]), action, tenant(cells[3]).as_ref()) {
                Ok(()) => "yes",
                Err(Denied::Scope { .. }) => "scope",
                Err(Denied::ForeignTenant { .. }) => "foreign",
                Err(Denied::Platform { .. }) => "platform",
            };
            assert_eq!(answer, cells[4], "{row}");
        }
    }

    #[test]
    fn rights_by_scope_and_tenant() {
        check(
            "
            none              -     Consult          -     scope
            preflight         -     Consult          -     yes
            export            acme  Consult          -     yes
            preflight         -     AskVerdict       acme  yes
            preflight         acme  AskVerdict       acme  yes
            preflight         acme  AskVerdict       bolt  foreign
            preflight         acme  AskVerdict       -     platform
            usage:write       -     AskVerdict       acme  scope
            read              -     AskVerdict       acme  scope
            preflight         acme  HoldReservation  acme  yes
            preflight         acme  HoldReservation  bolt  foreign
            usage:write       acme  HoldReservation  acme  scope
            read              acme  ReadReservation  acme  yes
            preflight         acme  ReadReservation  acme  yes
            preflight         acme  ReadReservation  bolt  foreign
            export            acme  ReadReservation  acme  scope
            preflight         acme  Settle           acme  yes
            usage:write       acme  Settle           acme  yes
            usage:write       acme  Settle           bolt  foreign
            read              -     Settle           acme  scope
            usage:write       -     PostUsage        bolt  yes
            preflight         -     PostUsage        bolt  scope
            preflight+usage:write acme PostUsage     bolt  foreign
            read              -     Read             -     yes
            read              acme  Read             acme  yes
            read              acme  Read             -     platform
            read              acme  Read             bolt  foreign
            export            acme  Read             acme  scope
            export            acme  Export           acme  yes
            export            acme  Export           bolt  foreign
            read              acme  Export           acme  scope
            read              -     Manage           acme  scope
            preflight+usage:write+read+export - Manage acme scope
            admin             -     Manage           acme  yes
            admin             -     Manage           -     yes
            admin             acme  Manage           acme  yes
            admin             acme  Manage           bolt  foreign
            admin             acme  Manage           -     platform
            admin             -     ManagePlatform   acme  yes
            admin             -     ManagePlatform   -     yes
            admin             acme  ManagePlatform   acme  platform
            admin             acme  ManagePlatform   -     platform
            ",
        );
    }

    #[test]
    fn a_missing_scope_is_told_before_a_foreign_tenant() {
        check("read acme Manage bolt scope");
    }

    #[test]
    fn admin_implies_every_scope() {
        for action in Action::ALL {
            assert_eq!(may(&caller("admin", "-"), action, None), Ok(()), "{action:?}");
        }
    }

    #[test]
    fn a_confined_list_covers_the_callers_own_tenant() {
        let acme = caller("read", "acme");
        assert_eq!(confine(&acme, Action::Read, None), Ok(tenant("acme")));
        assert_eq!(confine(&acme, Action::Read, tenant("acme")), Ok(tenant("acme")));
        assert!(matches!(confine(&acme, Action::Read, tenant("bolt")), Err(Denied::ForeignTenant { .. })));
        assert_eq!(confine(&caller("read", "-"), Action::Read, None), Ok(None));
    }

    #[test]
    fn scope_names_are_read_back() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(Scope::parse("Admin"), None, "names are exact");
        assert_eq!(ScopeSet::of(&Scope::ALL).to_string(), "preflight usage:write read export admin");
    }

    proptest! {
        #[test]
        fn a_confined_caller_never_reaches_another_tenant(bits in 0_u8..32, action in 0_usize..10) {
            let confined = Caller { subject: Arc::from("s"), scopes: ScopeSet(bits), tenant: tenant("acme") };
            prop_assert!(may(&confined, Action::ALL[action], tenant("bolt").as_ref()).is_err());
        }

        #[test]
        fn more_scopes_never_allow_less(bits in 0_u8..32, more in 0_u8..32, action in 0_usize..10) {
            let with = |bits| Caller { subject: Arc::from("s"), scopes: ScopeSet(bits), tenant: None };
            let action = Action::ALL[action];
            if may(&with(bits), action, None).is_ok() {
                prop_assert!(may(&with(bits | more), action, None).is_ok());
            }
        }
    }
}
