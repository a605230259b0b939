//! The ways providers spell one model.
//!
//! Bedrock puts a geography, a maker and a version around the name, Vertex an `@` before its date, routers a maker and a
//! slash, and everybody dates some releases. Each rule here removes one such decoration; none of them guesses a size.

/// Geographies in front of a Bedrock inference profile.
const GEOGRAPHIES: [&str; 9] = ["us.", "eu.", "apac.", "global.", "us-gov.", "jp.", "au.", "ca.", "sa."];

/// Makers in front of a model, as Bedrock (`anthropic.`) and routers (`anthropic/`) write them.
const MAKER_PREFIXES: [(&str, &str); 12] = [
    ("anthropic", "anthropic"),
    ("openai", "openai"),
    ("mistral", "mistral"),
    ("mistralai", "mistral"),
    ("cohere", "cohere"),
    ("google", "google"),
    ("meta", "meta"),
    ("meta-llama", "meta"),
    ("deepseek", "deepseek"),
    ("deepseek-ai", "deepseek"),
    ("qwen", "qwen"),
    ("amazon", "amazon"),
];

/// How a maker's models begin.
const MODEL_PREFIXES: [(&str, &str); 17] = [
    ("claude", "anthropic"),
    ("gpt-oss", "openai"),
    ("gpt", "openai"),
    ("chatgpt", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("gemini", "google"),
    ("gemma", "google"),
    ("mistral", "mistral"),
    ("ministral", "mistral"),
    ("magistral", "mistral"),
    ("codestral", "mistral"),
    ("command", "cohere"),
    ("llama", "meta"),
    ("deepseek", "deepseek"),
    ("qwen", "qwen"),
];

/// Words after a name that do not change the model's size.
const SUFFIXES: [&str; 3] = ["-latest", "-preview", "-exp"];

/// The spellings to look for, the given one first, in lower case and without repeats.
#[must_use]
pub fn spellings(model: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::with_capacity(4);
    let mut keep = |text: &str| {
        if !text.is_empty() && !found.iter().any(|known| known == text) {
            found.push(text.to_owned());
        }
    };
    let given = model.to_ascii_lowercase();
    keep(&given);
    let bare = bare(&given);
    keep(&bare);
    keep(&bare.replace('.', "-"));
    let stem = stem(&bare);
    keep(&stem);
    keep(&stem.replace('.', "-"));
    found
}

/// The name without path, geography, maker and Bedrock version: `eu.anthropic.claude-x-20250929-v1:0` is
/// `claude-x-20250929`.
fn bare(lower: &str) -> String {
    let mut name = lower.rsplit('/').next().unwrap_or(lower);
    name = name.strip_prefix("ft:").unwrap_or(name); // a fine-tuned model has the size of its base
    for geography in GEOGRAPHIES {
        if let Some(rest) = name.strip_prefix(geography) {
            name = rest;
            break;
        }
    }
    for (prefix, _) in MAKER_PREFIXES {
        if let Some(rest) = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) {
            name = rest;
            break;
        }
    }
    let name = name.split_once(':').map_or(name, |(head, _)| head);
    let name = match name.rsplit_once("-v") {
        Some((head, version)) if is_number(version) => head,
        _ => name,
    };
    name.replace('@', "-")
}

/// The name without its release date and without words that do not change the size.
#[must_use]
pub fn stem(bare: &str) -> String {
    let mut name = bare;
    for suffix in SUFFIXES {
        name = name.strip_suffix(suffix).unwrap_or(name);
    }
    if let Some((head, date)) = name.rsplit_once('-')
        && date.len() == 8
        && is_number(date)
    {
        name = head;
    }
    let parts: Vec<&str> = name.rsplitn(4, '-').collect();
    if let [day, month, year, head] = parts.as_slice()
        && (day.len(), month.len(), year.len()) == (2, 2, 4)
        && [day, month, year].into_iter().all(|part| is_number(part))
    {
        return (*head).to_owned();
    }
    name.to_owned()
}

/// Who made a model, as far as its name tells, in our words for providers.
#[must_use]
pub fn maker(model: &str) -> Option<&'static str> {
    let lower = model.to_ascii_lowercase();
    let bare = bare(&lower);
    let of_model = MODEL_PREFIXES.iter().find(|(prefix, _)| bare.starts_with(prefix)).map(|(_, maker)| *maker);
    of_model.or_else(|| {
        let named = |maker: &str| lower.split(['/', '.', ':']).any(|part| part == maker);
        MAKER_PREFIXES.iter().find(|(prefix, _)| named(prefix)).map(|(_, maker)| *maker)
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(model: &str, among: &str, made_by: Option<&str>) {
        let found = spellings(model);
        assert!(found.iter().any(|name| name == among), "{model} is not found as {among}: {found:?}");
        assert_eq!(maker(model), made_by, "{model}");
    }

    #[test]
    fn decorations_of_providers_are_removed() {
        check("gpt-4o", "gpt-4o", Some("openai"));
        check("GPT-4o", "gpt-4o", Some("openai"));
        check("ft:gpt-4o-mini-2024-07-18:acme::x1", "gpt-4o-mini-2024-07-18", Some("openai"));
        check("openai/gpt-4o", "gpt-4o", Some("openai"));
        check("gpt-4o-2024-11-20", "gpt-4o", Some("openai"));
        check("anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929", Some("anthropic"));
        check(
            "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-haiku-4-5-20251001-v1:0",
            "claude-haiku-4-5-20251001",
            Some("anthropic"),
        );
        check("claude-opus-4-5@20251101", "claude-opus-4-5-20251101", Some("anthropic"));
        check("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5", Some("anthropic"));
        check("publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro", Some("google"));
        check("models/gemini-2.5-flash-preview", "gemini-2.5-flash", Some("google"));
        check("us.meta.llama3-3-70b-instruct-v1:0", "llama3-3-70b-instruct", Some("meta"));
        check("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistralai/mixtral-8x7b-instruct-v0.1", Some("mistral"));
        check("amazon.nova-pro-v1:0", "nova-pro", Some("amazon"));
        check("house-model", "house-model", None);
    }

    #[test]
    fn a_strange_name_is_only_itself() {
        for name in ["", "-", "@", ":", "/", "-v", "-v1", "....", "us.", "anthropic.", "2024-11-20", "\u{e9}"] {
            assert!(spellings(name).len() <= 4, "{name}");
        }
    }
}
