//! The formulas of one request under one set of point parameters.
//!
//! Source: the methodology of `EcoLogits` 0.11.3 (<https://ecologits.ai>), a regression on ML.ENERGY measurements of H100
//! GPUs under vLLM. Tokens `T`, active and total parameters `Pa` and `Pt` in billions, batch `B`, bits `Q`:
//!
//! ```text
//! e_tok    = α·exp(β·B)·Pa + γ                        Wh per token and GPU
//! l_tok    = 1/tps, or λα·Pa + λβ·B + λγ              s per output token
//! ΔT       = min(T_out·l_tok + ttft, measured)        s
//! GPU      = 2^ceil(log2(ceil(1.2·Pt·Q/8 / 80)))
//! E        = PUE·(ΔT/3600·1.2·GPU/8/B + GPU·T_eff·e_tok/1000)      kWh
//! embodied = ΔT·(GPU/8·GWP_srv + GPU·GWP_gpu)/(L·u·B)              kg CO2e
//! ```
//!
//! `T_eff` weighs prompt and cache tokens; `u` is utilisation. Both are 1:1 with `EcoLogits` in its own profile.

use super::profile::Parameters;

/// α: Wh per token and billion active parameters.
const ENERGY_ALPHA: f64 = 1.166_527_317_045_191_4e-6;
/// β: per request in the batch.
const ENERGY_BETA: f64 = -0.011_205_921_025_579_175;
/// γ: Wh per token.
const ENERGY_GAMMA: f64 = 4.052_928_146_734_005e-5;
/// λα: seconds per token and billion active parameters.
const LATENCY_ALPHA: f64 = 0.000_678_508_809_435_366_3;
/// λβ: seconds per token and request in the batch.
const LATENCY_BETA: f64 = 0.000_311_931_031_168_825_9;
/// λγ: seconds per token.
const LATENCY_GAMMA: f64 = 0.019_473_717_579_473_387;
/// Memory of one H100, GB.
const GPU_MEMORY_GB: f64 = 80.0;
/// Memory for activations and caches, on top of the weights.
const MEMORY_OVERHEAD: f64 = 1.2;
/// GPUs in the reference server, an AWS p5.48xlarge.
const SERVER_GPUS: f64 = 8.0;
/// Power of the reference server without its GPUs, kW (`BoaviztAPI`).
const SERVER_POWER_KW: f64 = 1.2;
/// Emissions of making the reference server without its GPUs, kg CO2e (Boavizta).
const SERVER_EMBODIED_KG: f64 = 5_700.0;
/// Seconds in the 365-day years that a lifetime is counted in.
const SECONDS_PER_YEAR: f64 = 31_536_000.0;

/// One value for every parameter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// Active parameters, billions.
    pub(super) active_b: f64,
    /// All parameters, billions.
    pub(super) total_b: f64,
    /// Power usage effectiveness of the data centre.
    pub(super) pue: f64,
    /// GPU energy of a fresh prompt token, in output tokens.
    pub(super) weight_input: f64,
    /// Requests served together.
    pub(super) batch: f64,
    /// Bits per weight.
    pub(super) bits: f64,
    /// Share of its life in which the hardware serves requests.
    pub(super) utilisation: f64,
    /// Emissions of making one GPU, kg CO2e.
    pub(super) gpu_embodied_kg: f64,
    /// Life of the hardware, years.
    pub(super) lifetime_years: f64,
}

/// How fast the model answers, where it is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed {
    /// Output tokens per second.
    pub(super) tps: Option<f64>,
    /// Seconds to the first token.
    pub(super) ttft_s: Option<f64>,
}

/// The tokens of a call, as the formulas need them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    /// Output and reasoning tokens.
    pub(super) output: f64,
    /// Prompt tokens in fresh ones, cache tokens already weighed.
    pub(super) prompt: f64,
    /// Measured latency in seconds, infinite where not measured.
    pub(super) latency_s: f64,
}

/// What one set of point parameters makes of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) energy_kwh: f64,
    pub(super) embodied_g: f64,
}

/// One set of point parameters, reduced to what depends on the call. Evaluating it is a handful of multiplications.
#[derive(Debug, Clone, Copy)]
pub(super) struct Corner {
    latency_per_token_s: f64,
    first_token_s: f64,
    server_kwh_per_s: f64,
    gpu_kwh_per_token: f64,
    weight_input: f64,
    embodied_g_per_s: f64,
}

/// Seconds per output token.
pub(super) fn latency_per_token_s(active_b: f64, batch: f64, speed: Speed) -> f64 {
    match speed.tps {
        Some(tps) => 1.0 / tps,
        None => LATENCY_ALPHA * active_b + LATENCY_BETA * batch + LATENCY_GAMMA,
    }
}

/// Seconds the request occupies the server: what the model needs, and never longer than what was measured.
pub(super) fn generation_latency_s(latency_per_token_s: f64, first_token_s: f64, work: Work) -> f64 {
    (work.output * latency_per_token_s + first_token_s).min(work.latency_s)
}

/// GPUs that hold the model: a power of two.
pub(super) fn gpus_required(total_b: f64, bits: f64) -> u32 {
    // The order of operations decides on which side of a power of two a model falls. Do not rearrange.
    let memory_gb = MEMORY_OVERHEAD * total_b * bits / 8.0;
    let needed = (memory_gb / GPU_MEMORY_GB).ceil();
    let mut gpus = 1_u32;
    while f64::from(gpus) < needed {
        match gpus.checked_mul(2) {
            Some(more) => gpus = more,
            None => break,
        }
    }
    gpus
}

/// Emissions of making one GPU and its share of the server, kg CO2e.
pub(super) fn embodied_per_gpu_kg(gpu_embodied_kg: f64) -> f64 {
    SERVER_EMBODIED_KG / SERVER_GPUS + gpu_embodied_kg
}

impl Corner {
    pub(super) fn new(point: &Point, speed: Speed) -> Self {
        let gpus = f64::from(gpus_required(point.total_b, point.bits));
        let energy_per_token_wh = ENERGY_ALPHA * (ENERGY_BETA * point.batch).exp() * point.active_b + ENERGY_GAMMA;
        let embodied_kg = gpus * embodied_per_gpu_kg(point.gpu_embodied_kg);
        let life_s = SECONDS_PER_YEAR * point.lifetime_years * point.utilisation * point.batch;
        Self {
            latency_per_token_s: latency_per_token_s(point.active_b, point.batch, speed),
            first_token_s: speed.ttft_s.unwrap_or(0.0),
            server_kwh_per_s: point.pue * SERVER_POWER_KW * (gpus / SERVER_GPUS) / point.batch / 3_600.0,
            gpu_kwh_per_token: point.pue * gpus * energy_per_token_wh / 1_000.0,
            weight_input: point.weight_input,
            embodied_g_per_s: 1_000.0 * embodied_kg / life_s,
        }
    }

    pub(super) fn evaluate(&self, work: Work) -> Outcome {
        let seconds = generation_latency_s(self.latency_per_token_s, self.first_token_s, work);
        let tokens = work.output + self.weight_input * work.prompt;
        Outcome {
            energy_kwh: seconds * self.server_kwh_per_s + tokens * self.gpu_kwh_per_token,
            embodied_g: seconds * self.embodied_g_per_s,
        }
    }
}

/// The parameters under which a call emits the least.
pub(super) fn lowest(active_b: f64, total_b: f64, pue: f64, fixed: &Parameters) -> Point {
    Point {
        active_b,
        total_b,
        pue,
        weight_input: fixed.weight_input.min,
        batch: fixed.batch.max,
        bits: fixed.bits.min,
        utilisation: fixed.utilisation.max,
        gpu_embodied_kg: fixed.gpu_embodied_kg.min,
        lifetime_years: fixed.lifetime_years.max,
    }
}

/// The parameters that are posted.
pub(super) fn middle(active_b: f64, total_b: f64, pue: f64, fixed: &Parameters) -> Point {
    Point {
        active_b,
        total_b,
        pue,
        weight_input: fixed.weight_input.mid,
        batch: fixed.batch.mid,
        bits: fixed.bits.mid,
        utilisation: fixed.utilisation.mid,
        gpu_embodied_kg: fixed.gpu_embodied_kg.mid,
        lifetime_years: fixed.lifetime_years.mid,
    }
}

/// The parameters under which a call emits the most.
pub(super) fn highest(active_b: f64, total_b: f64, pue: f64, fixed: &Parameters) -> Point {
    Point {
        active_b,
        total_b,
        pue,
        weight_input: fixed.weight_input.max,
        batch: fixed.batch.min,
        bits: fixed.bits.max,
        utilisation: fixed.utilisation.min,
        gpu_embodied_kg: fixed.gpu_embodied_kg.max,
        lifetime_years: fixed.lifetime_years.min,
    }
}
