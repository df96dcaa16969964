//! What the JSON of tokens may leave out.

use serde_json::Value;

/// Fields that are `null` are as if they were not there. In lists a `null` stays: it is no entry of any kind.
///
/// The depth is that of the parser, which bounds it.
pub(super) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(without_nulls),
        _ => {}
    }
}
