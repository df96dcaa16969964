//! What the log says of operators.

use crate::config::operator::OperatorOptions;
use crate::rfc3339;

/// Who is trusted.
pub(super) fn at_start(options: &OperatorOptions) {
    let time = |seconds: i64| rfc3339::format(seconds.saturating_mul(1_000_000_000));
    tracing::info!("Trusted Operators");
    for known in &options.operators {
        let claims = &known.token.claims;
        tracing::info!("  System  : {:?}", claims.aud);
        tracing::info!("  Operator: {:?}", claims.name);
        tracing::info!("  Issued  : {}", time(claims.iat));
        tracing::info!("  Expires : {}", if claims.exp == 0 { "Never".to_owned() } else { time(claims.exp) });
    }
    if options.system.is_none() {
        tracing::warn!("Trusted Operators should utilize a System Account");
    }
}
