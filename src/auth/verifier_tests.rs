use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512};
use aws_lc_rs::{hmac, signature::RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::auth::mint::{MintError, mint};
use crate::auth::{LOCAL_KEY_ID, LocalKey};

/// Keys of every kind, made once: an RSA key takes a while.
struct Issuer {
    local: LocalKey,
    ed25519: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

fn issuer() -> &'static Issuer {
    static ISSUER: std::sync::OnceLock<Issuer> = std::sync::OnceLock::new();
    ISSUER.get_or_init(|| Issuer {
        local: LocalKey::from_bytes(vec![7; 32]).expect("32 bytes"),
        ed25519: Ed25519KeyPair::generate().expect("random bytes"),
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("random bytes"),
    })
}

fn jwks() -> String {
    let (ed25519, rsa) =
        (issuer().ed25519.public_key(), RsaPublicKeyComponents::<Vec<u8>>::from(issuer().rsa.public_key()));
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(ed25519.as_ref()) },
        { "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "rsa", "n": b64(&rsa.n), "e": b64(&rsa.e) },
    ] })
    .to_string()
}

fn keys() -> TrustedKeys {
    let mut keys = TrustedKeys::none().with_local(&issuer().local);
    assert_eq!(keys.add_jwks(&jwks()).expect("a good set"), vec![]);
    keys
}

fn verifier() -> Verifier {
    Verifier::new(TokenRules::local(), keys())
}

const NOW: i64 = 1_795_000_000;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("in range")
}

fn claims() -> Value {
    json!({ "iss": "counterfoil", "aud": "counterfoil", "sub": "gateway-1", "exp": NOW + 600, "scope": "preflight read" })
}

fn with(change: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in change.as_object().expect("an object") {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn sign(alg: &str, message: &[u8]) -> Vec<u8> {
    let rsa = |encoding| {
        let mut signature = vec![0; issuer().rsa.public_modulus_len()];
        issuer().rsa.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("signed");
        signature
    };
    match alg {
        "HS256" => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, issuer().local.secret()), message).as_ref().to_vec(),
        "HS512" => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, issuer().local.secret()), message).as_ref().to_vec(),
        "EdDSA" => issuer().ed25519.sign(message).as_ref().to_vec(),
        "RS256" => rsa(&RSA_PKCS1_SHA256),
        "RS512" => rsa(&RSA_PKCS1_SHA512),
        _ => Vec::new(),
    }
}

fn token_of(header: &Value, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn token(alg: &str, kid: &str, claims: &Value) -> String {
    token_of(&json!({ "alg": alg, "kid": kid }), &claims.to_string(), |message| sign(alg, message))
}

fn local(claims: &Value) -> String {
    token("HS256", LOCAL_KEY_ID, claims)
}

fn refused(token: &str) -> AuthError {
    verifier().verify(token, at(NOW)).expect_err(token)
}

#[test]
fn each_algorithm_is_accepted_with_its_own_key() {
    for (alg, kid) in [("HS256", "local"), ("EdDSA", "ed"), ("RS256", "rsa")] {
        let caller = verifier().verify(&token(alg, kid, &claims()), at(NOW)).expect(alg);
        assert_eq!(&*caller.subject, "gateway-1");
        assert_eq!(caller.scopes, ScopeSet::of(&[Scope::Preflight, Scope::Read]));
        assert_eq!(caller.tenant, None);
    }
}

#[test]
fn no_other_pair_of_algorithm_and_key_is_accepted() {
    for (alg, kid) in [
        ("HS256", "ed"),
        ("HS256", "rsa"),
        ("HS512", "local"),
        ("EdDSA", "local"),
        ("EdDSA", "rsa"),
        ("RS256", "local"),
        ("RS256", "ed"),
        ("RS512", "rsa"),
        ("PS256", "rsa"),
        ("ES256", "ed"),
    ] {
        assert_eq!(refused(&token(alg, kid, &claims())), AuthError::AlgorithmMismatch, "{alg} with {kid}");
    }
}

#[test]
fn a_public_key_used_as_a_shared_secret_is_refused() {
    // The classic confusion: HS256 keyed with bytes that everybody can read, in each shape an implementation might use.
    let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(issuer().rsa.public_key());
    let (der, ed) = (issuer().rsa.public_key().as_ref().to_vec(), issuer().ed25519.public_key().as_ref().to_vec());
    for (kid, secret) in [("rsa", der), ("rsa", rsa.n), ("ed", ed.clone()), ("rsa", jwks().into_bytes())] {
        let forged = token_of(&json!({ "alg": "HS256", "kid": kid }), &claims().to_string(), |message| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message).as_ref().to_vec()
        });
        assert_eq!(refused(&forged), AuthError::AlgorithmMismatch);
    }
    let forged = token_of(&json!({ "alg": "HS256", "kid": "local" }), &claims().to_string(), |message| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &ed), message).as_ref().to_vec()
    });
    assert_eq!(refused(&forged), AuthError::BadSignature);
}

#[test]
fn a_token_without_a_signature_is_refused() {
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        for kid in ["local", "rsa"] {
            assert_eq!(refused(&token(alg, kid, &claims())), AuthError::Malformed, "{alg:?}");
        }
    }
    for alg in ["HS256", "EdDSA", "RS256"] {
        let kid = match alg {
            "HS256" => "local",
            "EdDSA" => "ed",
            _ => "rsa",
        };
        let empty = token_of(&json!({ "alg": alg, "kid": kid }), &claims().to_string(), |_| Vec::new());
        assert_eq!(refused(&empty), AuthError::BadSignature, "{alg}");
    }
}

#[test]
fn headers_that_name_no_trusted_key_are_refused() {
    let of = |header: Value| refused(&token_of(&header, &claims().to_string(), |message| sign("HS256", message)));
    assert_eq!(of(json!({ "alg": "HS256" })), AuthError::KeyIdMissing);
    assert_eq!(of(json!({ "alg": "HS256", "kid": "" })), AuthError::KeyIdMissing);
    assert_eq!(of(json!({ "alg": "HS256", "kid": "other" })), AuthError::KeyUnknown);
    assert_eq!(of(json!({ "alg": "HS256", "kid": "Local" })), AuthError::KeyUnknown);
    assert_eq!(of(json!({ "alg": "HS256", "kid": "../local" })), AuthError::KeyUnknown);
    assert_eq!(of(json!({ "alg": "HS256", "kid": "k".repeat(129) })), AuthError::KeyUnknown);
    assert_eq!(of(json!({ "alg": "HS256", "kid": "local", "crit": ["b64"], "b64": false })), AuthError::CriticalHeader);
    assert_eq!(of(json!({ "alg": "HS256", "kid": "local:AAAAAAAA" })), AuthError::OtherInstallation);
    assert_eq!(of(json!({ "alg": "EdDSA", "kid": "local:" })), AuthError::OtherInstallation);
    // A key that travels in the token is not looked at.
    let x = URL_SAFE_NO_PAD.encode(issuer().ed25519.public_key().as_ref());
    let own = json!({ "alg": "EdDSA", "kid": "mine", "jwk": { "kty": "OKP", "crv": "Ed25519", "x": x } });
    let carried = token_of(&own, &claims().to_string(), |message| sign("EdDSA", message));
    assert_eq!(refused(&carried), AuthError::KeyUnknown);
}

#[test]
fn what_is_no_jwt_is_refused() {
    for text in ["", ".", "..", "...", "a", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "e30.e30.e30", "\u{0}"] {
        assert_eq!(refused(text), AuthError::Malformed, "{text:?}");
    }
    assert_eq!(refused(&"a".repeat(TOKEN_BYTES_MAX + 1)), AuthError::TooLong);
    assert_eq!(refused(&"a".repeat(TOKEN_BYTES_MAX)), AuthError::Malformed);
    let not_json = token_of(&json!({ "alg": "HS256", "kid": "local" }), "hello", |message| sign("HS256", message));
    assert!(matches!(refused(&not_json), AuthError::ClaimInvalid { claim: "set", .. }));
}

#[test]
fn claims_by_rule() {
    let missing = |claim| AuthError::ClaimMissing { claim };
    let audience = || AuthError::WrongAudience { audience: "counterfoil".to_owned() };
    let sub = || AuthError::ClaimInvalid { claim: "sub", must_be: "a short text without control characters" };
    let tenant = || AuthError::ClaimInvalid { claim: "tenant", must_be: "the id of a tenant" };
    let set = || AuthError::ClaimInvalid { claim: "set", must_be: "what RFC 7519 says of its claims" };
    let time = |claim| AuthError::ClaimInvalid { claim, must_be: "an instant in seconds since 1970" };
    for (change, expected) in [
        (json!({ "iss": null }), missing("iss")),
        (json!({ "iss": "counterfoi1" }), AuthError::WrongIssuer),
        (json!({ "iss": ["counterfoil"] }), set()),
        (json!({ "aud": null }), missing("aud")),
        (json!({ "aud": "other" }), audience()),
        (json!({ "aud": [] }), audience()),
        (json!({ "aud": ["other", "counterfoil-grant"] }), audience()),
        (json!({ "sub": null }), missing("sub")),
        (json!({ "sub": "" }), sub()),
        (json!({ "sub": "a\nb" }), sub()),
        (json!({ "sub": "s".repeat(257) }), sub()),
        (json!({ "tenant": "" }), tenant()),
        (json!({ "tenant": "a/b" }), tenant()),
        (json!({ "tenant": 7 }), set()),
        (json!({ "exp": null }), missing("exp")),
        (json!({ "exp": "tomorrow" }), set()),
        (json!({ "exp": 1e300 }), time("exp")),
        (json!({ "exp": -1e300 }), time("exp")),
        (json!({ "nbf": 1e17 }), time("nbf")),
    ] {
        assert_eq!(refused(&local(&with(&change))), expected, "{change}");
    }
}

#[test]
fn scopes_are_read_as_text_or_list_and_unknown_ones_give_nothing() {
    let scopes = |scope: Value| {
        let caller = verifier().verify(&local(&with(&json!({ "scope": scope }))), at(NOW)).expect("a good token");
        caller.scopes.to_string()
    };
    assert_eq!(scopes(json!("preflight usage:write")), "preflight usage:write");
    assert_eq!(scopes(json!(["usage:write", "export read"])), "usage:write read export");
    assert_eq!(scopes(json!("openid profile ADMIN admins")), "");
    assert_eq!(scopes(json!("")), "");
    assert_eq!(scopes(Value::Null), "", "no claim, no rights");
    assert_eq!(scopes(json!("admin")), "admin");
}

#[test]
fn an_audience_may_be_one_of_many_and_a_tenant_confines() {
    let both = with(&json!({ "aud": ["other", "counterfoil"], "tenant": "acme" }));
    let caller = verifier().verify(&local(&both), at(NOW)).expect("a good token");
    assert_eq!(caller.tenant.map(|tenant| tenant.to_string()), Some("acme".to_owned()));
}

#[test]
fn times_are_judged_by_the_instant_given_with_five_seconds_leeway() {
    let (from, to) = (NOW - 100, NOW + 600);
    let bearer = local(&with(&json!({ "nbf": from, "exp": to })));
    let microsecond = TimeDelta::microseconds(1);
    // Twice: the second time from memory. The answers are the same.
    let verifier = verifier();
    for round in 0..2 {
        for (now, good) in [
            (at(from - 5) - microsecond, false),
            (at(from - 5), true),
            (at(NOW), true),
            (at(to), true),
            (at(to + 5) - microsecond, true),
            (at(to + 5), false),
            (at(to + 86_400), false),
        ] {
            let answer = verifier.verify(&bearer, now);
            assert_eq!(answer.is_ok(), good, "round {round} at {now}: {answer:?}");
        }
    }
    assert_eq!(verifier.verify(&bearer, at(to + 5)), Err(AuthError::Expired { at: at(to) }));
    assert_eq!(verifier.verify(&bearer, at(from - 6)), Err(AuthError::NotYetValid { from: at(from) }));
    let fractional = local(&with(&json!({ "exp": 1_795_000_000.5 })));
    assert!(verifier.verify(&fractional, at(NOW + 5)).is_ok());
    assert!(verifier.verify(&fractional, at(NOW + 6)).is_err());
}

#[test]
fn a_tenant_that_is_null_is_no_tenant_and_not_the_platform() {
    let mut claims = claims();
    claims["tenant"] = Value::Null;
    assert_eq!(refused(&local(&claims)), AuthError::ClaimInvalid { claim: "tenant", must_be: "the id of a tenant" });
}

#[test]
fn where_tenants_are_required_only_our_own_tokens_are_the_platforms() {
    let strict = Verifier::new(TokenRules { tenant_required: true, ..TokenRules::local() }, keys());
    let confined = with(&json!({ "tenant": "acme" }));
    for (alg, kid) in [("EdDSA", "ed"), ("RS256", "rsa")] {
        let missing = AuthError::ClaimMissing { claim: "tenant" };
        assert_eq!(strict.verify(&token(alg, kid, &claims()), at(NOW)), Err(missing), "{alg}");
        assert!(strict.verify(&token(alg, kid, &confined), at(NOW)).is_ok(), "{alg}");
        assert!(verifier().verify(&token(alg, kid, &claims()), at(NOW)).is_ok(), "{alg}");
    }
    assert!(strict.verify(&local(&claims()), at(NOW)).is_ok());
}

#[test]
fn a_token_for_decades_is_refused() {
    let days = |days: i64| local(&with(&json!({ "exp": NOW + days * 86_400 })));
    assert!(verifier().verify(&days(400), at(NOW)).is_ok());
    let refused = verifier().verify(&days(401), at(NOW)).expect_err("too far");
    assert!(matches!(refused, AuthError::ClaimInvalid { claim: "exp", .. }), "{refused}");
}

#[test]
fn a_reload_forgets_what_the_old_keys_verified() {
    let verifier = verifier();
    let bearer = token("EdDSA", "ed", &claims());
    assert!(verifier.verify(&bearer, at(NOW)).is_ok());
    verifier.reload(TrustedKeys::none().with_local(&issuer().local));
    assert_eq!(verifier.verify(&bearer, at(NOW)), Err(AuthError::KeyUnknown));
    verifier.reload(keys());
    assert!(verifier.verify(&bearer, at(NOW)).is_ok());
}

#[test]
fn a_verification_that_spans_a_reload_is_not_remembered() {
    let verifier = verifier();
    let old = Arc::clone(&verifier.trust.read().expect("not poisoned").keys);
    let bearer = token("EdDSA", "ed", &claims());
    let verified = verifier.verify_unseen(&bearer, &old).expect("a good token");
    verifier.reload(TrustedKeys::none());
    verifier.remember(Sha256::digest(bearer.as_bytes()).into(), verified, &old);
    assert_eq!(verifier.verify(&bearer, at(NOW)), Err(AuthError::KeyUnknown));
}

#[test]
fn the_memory_is_bounded_and_holds_only_good_tokens() {
    let verifier = verifier();
    let kept = |verifier: &Verifier| verifier.trust.read().expect("not poisoned").verified.len();
    for forged in 0..10 {
        assert!(verifier.verify(&format!("{}x{forged}", local(&claims())), at(NOW)).is_err());
        assert!(verifier.verify(&local(&with(&json!({ "exp": NOW - 60 - forged }))), at(NOW)).is_err());
    }
    assert_eq!(kept(&verifier), 0);
    for i in 0..VERIFIED_TOKENS_MAX + 10 {
        assert!(verifier.verify(&local(&with(&json!({ "sub": format!("s{i}") }))), at(NOW)).is_ok());
    }
    assert_eq!(kept(&verifier), VERIFIED_TOKENS_MAX);
    assert_eq!(&*verifier.verify(&local(&with(&json!({ "sub": "s0" }))), at(NOW)).expect("good").subject, "s0");
}

#[test]
fn a_minted_token_is_its_caller_for_its_time() {
    let caller = Caller {
        subject: Arc::from("ops"),
        scopes: ScopeSet::of(&[Scope::Read, Scope::Admin]),
        tenant: TenantId::parse("acme").ok(),
    };
    let rules = TokenRules::local();
    let minted = |ttl| mint(&issuer().local, &rules, &caller, at(NOW), TimeDelta::seconds(ttl));
    let token = minted(60).expect("minted");
    assert_eq!(verifier().verify(&token, at(NOW)), Ok(caller.clone()));
    assert_eq!(verifier().verify(&token, at(NOW + 65)), Err(AuthError::Expired { at: at(NOW + 60) }));
    assert_eq!(verifier().verify(&token, at(NOW - 6)), Err(AuthError::NotYetValid { from: at(NOW) }));
    for ttl in [0, -1, i64::from(i32::MAX)] {
        assert!(matches!(minted(ttl), Err(MintError::Lifetime { .. })), "{ttl}");
    }
    // The name of a local key says which installation made it.
    let other = LocalKey::from_bytes(vec![8; 32]).expect("32 bytes");
    let foreign = mint(&other, &rules, &caller, at(NOW), TimeDelta::seconds(60)).expect("minted");
    assert_eq!(refused(&foreign), AuthError::OtherInstallation);
}

#[test]
fn refusals_show_nothing_of_the_token() {
    let secret = "s3cr3t-subject";
    for change in [json!({ "iss": secret }), json!({ "aud": secret }), json!({ "tenant": format!("/{secret}") })] {
        let said = refused(&local(&with(&change))).to_string();
        assert!(!said.contains(secret), "{said}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_pass(text in "\\PC*") {
        prop_assert!(verifier().verify(&text, at(NOW)).is_err());
    }

    #[test]
    fn no_changed_token_passes(place in 0_usize..400, letter in "[A-Za-z0-9_.-]") {
        let good = token("EdDSA", "ed", &claims());
        let place = place % good.len();
        let mut changed = good.clone();
        changed.replace_range(place..=place, &letter);
        prop_assume!(changed != good);
        prop_assert!(verifier().verify(&changed, at(NOW)).is_err());
    }
}

/// Two installations, and a token of one at the other: it says so, and no more than that it is not ours.
#[test]
fn a_token_of_another_installation_is_told_from_a_forged_one() {
    let [ours, theirs] = [7, 8].map(|byte| LocalKey::from_bytes(vec![byte; 32]).expect("32 bytes"));
    assert_ne!(ours.id(), theirs.id());
    let verifier = Verifier::new(TokenRules::local(), TrustedKeys::none().with_local(&ours));
    let caller = Caller { subject: Arc::from("s"), scopes: ScopeSet::of(&[Scope::Read]), tenant: None };
    let minted =
        |key: &LocalKey| mint(key, &TokenRules::local(), &caller, at(NOW), TimeDelta::hours(1)).expect("a token");
    assert_eq!(verifier.verify(&minted(&ours), at(NOW)).map(|caller| caller.subject), Ok(Arc::from("s")));
    let refused = verifier.verify(&minted(&theirs), at(NOW)).expect_err("not ours");
    assert_eq!(refused, AuthError::OtherInstallation);
    for id in [ours.id(), theirs.id()] {
        assert!(!refused.to_string().contains(id.trim_start_matches("local:")), "names no key: {refused}");
    }
    // Tokens of earlier releases name the key `local`: they are believed, and another installation's are not.
    let earlier = |key: &LocalKey| {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        header.kid = Some(LOCAL_KEY_ID.to_owned());
        let secret = jsonwebtoken::EncodingKey::from_secret(key.secret());
        jsonwebtoken::encode(&header, &claims(), &secret).expect("a token")
    };
    assert!(verifier.verify(&earlier(&ours), at(NOW)).is_ok());
    assert_eq!(verifier.verify(&earlier(&theirs), at(NOW)), Err(AuthError::BadSignature));
}
