//! The subject trie: one node a token, wildcards as children of their own.
//!
//! Nodes live in an arena and every walk is a loop, so that a subject of two thousand tokens costs no stack. A match
//! visits each node at most once: a node is reached by exactly one path, and its depth is the token it looks at.

use rustc_hash::FxHashMap;

/// What the trie holds.
pub trait Member: Clone {
    /// Unique among the members.
    fn id(&self) -> u64;
}

/// What a message goes to.
#[derive(Debug)]
pub struct Matches<T> {
    /// Each of these gets it.
    pub plain: Vec<T>,
    /// Of each of these groups, one member gets it. A group that matches through two filters is one entry.
    pub queues: Vec<(Box<[u8]>, Vec<T>)>,
    /// Where in `queues` each group is, once there are many.
    by_name: FxHashMap<Box<[u8]>, usize>,
}

impl<T> Default for Matches<T> {
    fn default() -> Self {
        Self { plain: Vec::new(), queues: Vec::new(), by_name: FxHashMap::default() }
    }
}

impl<T> Matches<T> {
    /// Forgets the last match, keeps the memory.
    pub fn clear(&mut self) {
        self.plain.clear();
        self.queues.clear();
        self.by_name.clear();
    }

    /// The members found so far of a group that is there already.
    fn group(&mut self, name: &[u8]) -> Option<&mut Vec<T>> {
        let at = if self.queues.len() < INDEXED_FROM {
            self.queues.iter().position(|(group, _)| &**group == name)?
        } else {
            if self.by_name.is_empty() {
                self.by_name = self.queues.iter().enumerate().map(|(at, (group, _))| (group.clone(), at)).collect();
            }
            *self.by_name.get(name)?
        };
        self.queues.get_mut(at).map(|(_, members)| members)
    }

    fn add_group(&mut self, name: &[u8], members: &[T])
    where
        T: Clone,
    {
        if let Some(all) = self.group(name) {
            all.extend_from_slice(members);
            return;
        }
        if !self.by_name.is_empty() {
            self.by_name.insert(name.into(), self.queues.len());
        }
        self.queues.push((name.into(), members.to_vec()));
    }
}

const ROOT: u32 = 0;
/// From this many members on, a set keeps a map of positions, so that ten thousand subscribers of one subject leave
/// in linear time.
const INDEXED_FROM: usize = 16;

#[derive(Debug)]
struct Members<T> {
    items: Vec<T>,
    positions: FxHashMap<u64, usize>,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { items: Vec::new(), positions: FxHashMap::default() }
    }
}

impl<T: Member> Members<T> {
    fn insert(&mut self, item: T) {
        self.items.push(item);
        if self.items.len() == INDEXED_FROM {
            self.positions = self.items.iter().enumerate().map(|(at, item)| (item.id(), at)).collect();
        } else if let (true, Some(last)) = (self.items.len() > INDEXED_FROM, self.items.last()) {
            self.positions.insert(last.id(), self.items.len() - 1);
        }
    }

    fn remove(&mut self, id: u64) -> bool {
        let found = if self.positions.is_empty() {
            self.items.iter().position(|item| item.id() == id)
        } else {
            self.positions.get(&id).copied()
        };
        let Some(at) = found else { return false };
        self.items.swap_remove(at);
        if self.items.len() < INDEXED_FROM {
            self.positions = FxHashMap::default();
        } else {
            self.positions.remove(&id);
            if let Some(moved) = self.items.get(at) {
                self.positions.insert(moved.id(), at);
            }
        }
        true
    }
}

#[derive(Debug)]
struct Node<T> {
    parent: u32,
    /// The token that leads here from the parent.
    token: Box<[u8]>,
    children: FxHashMap<Box<[u8]>, u32>,
    star: Option<u32>,
    /// Child for `>`: it has members only.
    rest: Option<u32>,
    plain: Members<T>,
    queues: Vec<(Box<[u8]>, Members<T>)>,
}

impl<T> Node<T> {
    fn new(parent: u32, token: &[u8]) -> Self {
        Self {
            parent,
            token: token.into(),
            children: FxHashMap::default(),
            star: None,
            rest: None,
            plain: Members::default(),
            queues: Vec::new(),
        }
    }

    fn is_bare(&self) -> bool {
        self.children.is_empty()
            && self.star.is_none()
            && self.rest.is_none()
            && self.plain.items.is_empty()
            && self.queues.is_empty()
    }
}

/// Filters and their members.
#[derive(Debug)]
pub struct Trie<T> {
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { nodes: vec![Node::new(ROOT, b"")], free: Vec::new(), len: 0 }
    }
}

impl<T: Member> Trie<T> {
    /// Members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn node(&self, id: u32) -> Option<&Node<T>> {
        self.nodes.get(id as usize)
    }

    fn node_mut(&mut self, id: u32) -> Option<&mut Node<T>> {
        self.nodes.get_mut(id as usize)
    }

    fn child(&self, of: u32, token: &[u8]) -> Option<u32> {
        let node = self.node(of)?;
        match token {
            b"*" => node.star,
            b">" => node.rest,
            _ => node.children.get(token).copied(),
        }
    }

    fn child_or_new(&mut self, of: u32, token: &[u8]) -> u32 {
        if let Some(id) = self.child(of, token) {
            return id;
        }
        let node = Node::new(of, token);
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(slot) = self.node_mut(id) {
                    *slot = node;
                }
                id
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(parent) = self.node_mut(of) {
            match token {
                b"*" => parent.star = Some(id),
                b">" => parent.rest = Some(id),
                _ => {
                    parent.children.insert(token.into(), id);
                }
            }
        }
        id
    }

    /// Copies the members under some nodes from the `from`th on; where to go on, `None` at the end.
    pub fn copy_members(&self, from: usize, nodes: usize, into: &mut Vec<T>) -> Option<usize> {
        let end = from.saturating_add(nodes);
        for node in self.nodes.iter().take(end).skip(from) {
            into.extend_from_slice(&node.plain.items);
            for (_, members) in &node.queues {
                into.extend_from_slice(&members.items);
            }
        }
        (end < self.nodes.len()).then_some(end)
    }

    /// Adds a member under a valid filter.
    pub fn insert(&mut self, filter: &[u8], queue: Option<&[u8]>, member: T) {
        let mut at = ROOT;
        for token in filter.split(|&b| b == b'.') {
            at = self.child_or_new(at, token);
        }
        let Some(node) = self.node_mut(at) else { return };
        match queue {
            None => node.plain.insert(member),
            Some(name) => match node.queues.iter_mut().find(|(group, _)| &**group == name) {
                Some((_, members)) => members.insert(member),
                None => {
                    let mut members = Members::default();
                    members.insert(member);
                    node.queues.push((name.into(), members));
                }
            },
        }
        self.len += 1;
    }

    /// Removes a member; false when it was not there.
    pub fn remove(&mut self, filter: &[u8], queue: Option<&[u8]>, id: u64) -> bool {
        let mut at = ROOT;
        for token in filter.split(|&b| b == b'.') {
            match self.child(at, token) {
                Some(child) => at = child,
                None => return false,
            }
        }
        let Some(node) = self.node_mut(at) else { return false };
        let removed = match queue {
            None => node.plain.remove(id),
            Some(name) => match node.queues.iter().position(|(group, _)| &**group == name) {
                Some(group) => {
                    let removed = node.queues.get_mut(group).is_some_and(|(_, members)| members.remove(id));
                    if node.queues.get(group).is_some_and(|(_, members)| members.items.is_empty()) {
                        node.queues.swap_remove(group);
                    }
                    removed
                }
                None => false,
            },
        };
        if removed {
            self.len -= 1;
            self.prune(at);
        }
        removed
    }

    /// Frees `at` and its ancestors as far as nothing is left under them.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT {
            let Some(node) = self.node_mut(at) else { return };
            if !node.is_bare() {
                return;
            }
            let parent = node.parent;
            let token = std::mem::take(&mut node.token);
            if let Some(parent) = self.node_mut(parent) {
                match &*token {
                    b"*" => parent.star = None,
                    b">" => parent.rest = None,
                    _ => {
                        parent.children.remove(&token);
                        if parent.children.is_empty() {
                            parent.children = FxHashMap::default();
                        }
                    }
                }
            }
            self.free.push(at);
            at = parent;
        }
    }

    /// Adds to `into` everything that a message on `subject` goes to. Wildcard characters in `subject` are ordinary.
    pub fn matches(&self, subject: &[u8], into: &mut Matches<T>) {
        if subject.first() == Some(&b'.') || subject.last() == Some(&b'.') || subject.is_empty() {
            return;
        }
        // (node, rest of the subject after it); `None` is the end.
        let mut todo: Vec<(u32, Option<&[u8]>)> = Vec::with_capacity(8);
        todo.push((ROOT, Some(subject)));
        while let Some((id, rest)) = todo.pop() {
            let Some(node) = self.node(id) else { continue };
            let Some(rest) = rest else {
                Self::collect(node, into);
                continue;
            };
            let (token, after) = match memchr::memchr(b'.', rest) {
                Some(dot) => (rest.get(..dot).unwrap_or_default(), rest.get(dot + 1..)),
                None => (rest, None),
            };
            if token.is_empty() {
                // An empty token matches nothing, and neither does what comes with it.
                continue;
            }
            if let Some(all) = node.rest.and_then(|id| self.node(id))
                && !has_empty_token(rest)
            {
                Self::collect(all, into);
            }
            if let Some(star) = node.star {
                todo.push((star, after));
            }
            if let Some(&child) = node.children.get(token) {
                todo.push((child, after));
            }
        }
    }

    fn collect(node: &Node<T>, into: &mut Matches<T>) {
        into.plain.extend_from_slice(&node.plain.items);
        for (name, members) in &node.queues {
            into.add_group(name, &members.items);
        }
    }
}

fn has_empty_token(subject: &[u8]) -> bool {
    memchr::memmem::find(subject, b"..").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sublog_protocol::subject;

    #[derive(Clone, Debug, PartialEq)]
    struct Id(u64);

    impl Member for Id {
        fn id(&self) -> u64 {
            self.0
        }
    }

    fn matched(trie: &Trie<Id>, on: &[u8]) -> Vec<u64> {
        let mut found = Matches::default();
        trie.matches(on, &mut found);
        let mut ids: Vec<u64> = found.plain.iter().map(|m| m.0).collect();
        ids.sort_unstable();
        ids
    }

    /// A small deterministic generator: the same filters and subjects on every run.
    struct Lcg(u64);

    impl Lcg {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }

        fn subject(&mut self, wild: bool) -> Vec<u8> {
            let tokens = 1 + self.below(4);
            let mut out = Vec::new();
            for i in 0..tokens {
                if i > 0 {
                    out.push(b'.');
                }
                let pick = self.below(if wild { 6 } else { 4 });
                match pick {
                    4 => out.push(b'*'),
                    5 if i + 1 == tokens => out.push(b'>'),
                    n => out.push(b'a' + u8::try_from(n % 3).unwrap()),
                }
            }
            out
        }
    }

    #[test]
    fn agrees_with_matching_one_by_one() {
        let mut random = Lcg(7);
        let mut trie = Trie::default();
        let mut filters: Vec<(u64, Vec<u8>)> = Vec::new();
        for step in 0..4000u64 {
            if random.below(3) == 0 && !filters.is_empty() {
                let at = usize::try_from(random.below(filters.len() as u64)).unwrap();
                let (id, filter) = filters.swap_remove(at);
                assert!(trie.remove(&filter, None, id));
                assert!(!trie.remove(&filter, None, id));
            } else {
                let filter = random.subject(true);
                trie.insert(&filter, None, Id(step));
                filters.push((step, filter));
            }
            assert_eq!(trie.len(), filters.len());
            if step % 50 == 0 {
                let (mut all, mut next) = (Vec::new(), Some(0));
                while let Some(from) = next {
                    next = trie.copy_members(from, 3, &mut all);
                }
                let sorted = |mut ids: Vec<u64>| {
                    ids.sort_unstable();
                    ids
                };
                let there = filters.iter().map(|(id, _)| *id).collect();
                assert_eq!(sorted(all.iter().map(Member::id).collect()), sorted(there));
            }
            let on = random.subject(false);
            let mut expected: Vec<u64> =
                filters.iter().filter(|(_, f)| subject::matches(f, &on)).map(|(id, _)| *id).collect();
            expected.sort_unstable();
            assert_eq!(matched(&trie, &on), expected, "on {}", String::from_utf8_lossy(&on));
        }
        for (id, filter) in filters {
            assert!(trie.remove(&filter, None, id));
        }
        assert_eq!(trie.nodes.len() - trie.free.len(), 1, "every node but the root is freed");
    }

    #[test]
    fn queue_groups_are_kept_apart_and_joined_over_filters() {
        let mut trie = Trie::default();
        trie.insert(b"a.*", Some(b"q"), Id(1));
        trie.insert(b"a.b", Some(b"q"), Id(2));
        trie.insert(b"a.b", Some(b"r"), Id(3));
        let mut found = Matches::default();
        trie.matches(b"a.b", &mut found);
        found.queues.sort_by(|a, b| a.0.cmp(&b.0));
        assert!(found.plain.is_empty());
        assert_eq!(found.queues.len(), 2);
        assert_eq!(found.queues[0].1.len(), 2);
        assert_eq!(found.queues[1].1, vec![Id(3)]);
        assert!(trie.remove(b"a.b", Some(b"r"), 3));
        found.clear();
        trie.matches(b"a.b", &mut found);
        assert_eq!(found.queues.len(), 1);
    }

    #[test]
    fn subjects_with_empty_tokens_match_nobody() {
        let mut trie = Trie::default();
        trie.insert(b">", None, Id(1));
        trie.insert(b"a.>", None, Id(2));
        trie.insert(b"a.*.c", None, Id(3));
        for on in [&b""[..], b".", b".a", b"a.", b"a..c", b"a.b..", b".."] {
            assert_eq!(matched(&trie, on), Vec::<u64>::new(), "{on:?}");
        }
        assert_eq!(matched(&trie, b"a.b.c"), vec![1, 2, 3]);
    }

    #[test]
    fn many_members_of_one_subject_leave_in_any_order() {
        let mut trie = Trie::default();
        for id in 0..1000 {
            trie.insert(b"one", None, Id(id));
        }
        for id in (0..1000).step_by(2) {
            assert!(trie.remove(b"one", None, id));
        }
        assert_eq!(matched(&trie, b"one"), (0..1000).filter(|id| id % 2 == 1).collect::<Vec<_>>());
    }

    #[test]
    fn very_deep_subjects_cost_no_stack() {
        let mut trie = Trie::default();
        let deep = vec!["*"; 100_000].join(".").into_bytes();
        trie.insert(&deep, None, Id(1));
        let on = vec!["x"; 100_000].join(".").into_bytes();
        assert_eq!(matched(&trie, &on), vec![1]);
        assert!(trie.remove(&deep, None, 1));
    }
}
