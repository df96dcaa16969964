//! Reading a destination's tokens.

use super::{BadTransform, Part};

const FEW: &str = "not enough arguments passed to the function";
const MANY: &str = "too many arguments passed to the function";
const FORMAT: &str = "function argument is invalid or in the wrong format";
const RANGE: &str = "wildcard index out of range";
const UNKNOWN: &str = "unknown function";

/// A function's names, in the capitals in which it is found.
const FUNCTIONS: [(&str, Function); 10] = [
    ("partition", Function::Partition),
    ("wildcard", Function::Wildcard),
    ("splitfromleft", Function::SplitFromLeft),
    ("splitfromright", Function::SplitFromRight),
    ("slicefromleft", Function::SliceFromLeft),
    ("slicefromright", Function::SliceFromRight),
    ("split", Function::Split),
    ("left", Function::Left),
    ("right", Function::Right),
    ("random", Function::Random),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Function {
    Partition,
    Wildcard,
    SplitFromLeft,
    SplitFromRight,
    SliceFromLeft,
    SliceFromRight,
    Split,
    Left,
    Right,
    Random,
}

/// Whether a token is written like a call.
pub(super) fn looks_like_function(token: &str) -> bool {
    token.len() > 4 && token.starts_with("{{") && token.ends_with("}}")
}

/// Whether it is a call of a function that there is.
pub(super) fn is_function(token: &str) -> bool {
    call(token).is_some()
}

fn call(token: &str) -> Option<(Function, Vec<&str>)> {
    let inner = token.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let (name, arguments) = inner.strip_suffix(')')?.split_once('(')?;
    let name = name.trim_end();
    let (_, function) = FUNCTIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some((*function, arguments.split(',').map(|argument| argument.trim_matches(' ')).collect()))
}

/// The part for a token; `stars` are the tokens of the source that are `*`, and `wild` says whether it is not a literal.
pub(super) fn part(token: &str, stars: &[usize], wild: bool) -> Result<Part, BadTransform> {
    if token == ">" {
        return Ok(Part::Rest);
    }
    if let Some(number) = token.strip_prefix('$') {
        // Other tokens that begin with a dollar are names.
        return match number.parse::<i64>() {
            Ok(index) if wild => star(token, stars, index).map(Part::Token),
            Ok(_) => bad(RANGE, token),
            Err(_) => Ok(Part::Literal(token.to_owned())),
        };
    }
    if !looks_like_function(token) {
        return Ok(Part::Literal(token.to_owned()));
    }
    let Some((function, arguments)) = call(token) else { return bad(UNKNOWN, token) };
    let part = function_part(token, function, &arguments, stars, wild)?;
    if !wild && !matches!(part, Part::Partition { .. } | Part::Random(_)) {
        return bad(RANGE, token);
    }
    Ok(part)
}

fn function_part(
    token: &str,
    function: Function,
    arguments: &[&str],
    stars: &[usize],
    wild: bool,
) -> Result<Part, BadTransform> {
    let star = |index: &str| {
        let index = number(token, index)?;
        if wild { star(token, stars, index) } else { bad(RANGE, token) }
    };
    let with_size = || match arguments {
        [] | [_] => bad(FEW, token),
        [index, size] => {
            let (at, size) = (star(index)?, number(token, size)?);
            i32::try_from(size).or_else(|_| bad(FORMAT, token))?;
            // A size that is not positive changes nothing, like one that is too large.
            Ok((at, usize::try_from(size).unwrap_or(0)))
        }
        _ => bad(MANY, token),
    };
    let from_right = matches!(function, Function::SplitFromRight | Function::SliceFromRight | Function::Right);
    match function {
        Function::Wildcard => match arguments {
            [] | [""] => bad(FEW, token),
            [index] => star(index).map(Part::Token),
            _ => bad(MANY, token),
        },
        Function::Partition => {
            let Some((buckets, tokens)) = arguments.split_first() else { return bad(FEW, token) };
            let buckets = count(token, buckets)?;
            // A literal source has no wildcards to choose from: the whole subject is hashed.
            let tokens =
                if wild { tokens.iter().map(|index| star(index)).collect::<Result<_, _>>()? } else { Vec::new() };
            Ok(Part::Partition { buckets, tokens })
        }
        Function::Random => match arguments {
            [most] => count(token, most).map(Part::Random),
            _ => bad(FEW, token),
        },
        Function::SplitFromLeft | Function::SplitFromRight => {
            with_size().map(|(at_token, at)| Part::SplitAt { token: at_token, at, from_right })
        }
        Function::SliceFromLeft | Function::SliceFromRight => {
            with_size().map(|(at_token, size)| Part::Slice { token: at_token, size, from_right })
        }
        Function::Left | Function::Right => {
            with_size().map(|(at_token, size)| Part::Cut { token: at_token, size, from_right })
        }
        Function::Split => match arguments {
            [] | [_] => bad(FEW, token),
            [_, delimiter] if delimiter.is_empty() || delimiter.contains(' ') => bad(FORMAT, token),
            [index, delimiter] => Ok(Part::Split { token: star(index)?, delimiter: (*delimiter).to_owned() }),
            _ => bad(MANY, token),
        },
    }
}

fn number(token: &str, text: &str) -> Result<i64, BadTransform> {
    text.parse().or_else(|_| bad(FORMAT, token))
}

fn count(token: &str, text: &str) -> Result<u32, BadTransform> {
    let count = u32::try_from(number(token, text)?).ok().filter(|count| i32::try_from(*count).is_ok());
    count.map_or_else(|| bad(FORMAT, token), Ok)
}

/// Where the source's `index`th star is.
fn star(token: &str, stars: &[usize], index: i64) -> Result<usize, BadTransform> {
    let at = usize::try_from(index).ok().and_then(|index| index.checked_sub(1));
    let found = at.and_then(|at| stars.get(at)).copied();
    found.map_or_else(|| bad(RANGE, &format!("{token}: [{index}]")), Ok)
}

fn bad<T>(why: &'static str, token: &str) -> Result<T, BadTransform> {
    Err(BadTransform::Destination { why, token: token.to_owned() })
}
