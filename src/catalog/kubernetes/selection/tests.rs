use super::*;

fn check_allowed(patterns: &[&str], name: &str, want: bool) {
    let patterns: Vec<Box<str>> = patterns.iter().map(|&pattern| pattern.into()).collect();
    assert_eq!(Patterns::new(&patterns).allow(name), want, "{name} by {patterns:?}");
}

#[test]
fn names_are_labels_that_patterns_allow() {
    for (patterns, name, want) in [
        (&[][..], "default", true),
        (&[], "0-a", true),
        (&[], "kube-system", false),
        (&[], "kube", true),
        (&[], "", false),
        (&[], "A", false),
        (&[], "a.b", false),
        (&[], "a_b", false),
        (&[], "a/b", false),
        (&[], "../a", false),
        (&[], "-a", false),
        (&[], "a-", false),
        (&["*"], "kube-system", true),
        (&["team-*"], "team-a", true),
        (&["team-*"], "team-", false),
        (&["team-*"], "steam-a", false),
        (&["team-*", "!*-test"], "team-a-test", false),
        (&["!test"], "test", false),
        (&["!test"], "kube-system", true),
        (&["a*b*c"], "abc", true),
        (&["a*b*c"], "axbxbxc", true),
        (&["a*b*c"], "acb", false),
        (&["a*a"], "a", false),
        (&["a*ba*a"], "aba", false),
        (&["**"], "x", true),
        (&["a"], "ab", false),
    ] {
        check_allowed(patterns, name, want);
    }
    check_allowed(&[], &"a".repeat(63), true);
    check_allowed(&[], &"a".repeat(64), false);
}

struct Course {
    selection: Selection,
    now: Instant,
}

impl Course {
    fn new(max: usize) -> Self {
        Self { selection: Selection::new(Patterns::new(&[]), max), now: Instant::now() }
    }

    /// Look-ups, beginnings and ends when these are in use, those used last first.
    fn check(&mut self, in_use: &str, look_up: &str, follow: &str, leave: &str) {
        let steps = self.selection.steps(&names(in_use), self.now);
        let want = Steps { look_up: names(look_up), follow: names(follow), leave: names(leave) };
        assert_eq!(steps, want);
    }

    fn answer(&mut self, all: &str, answer: Answer) {
        for name in names(all) {
            self.selection.answered(&name, answer, self.now);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

fn names(all: &str) -> Vec<Namespace> {
    all.split_whitespace().map(|name| name.parse().expect("a name")).collect()
}

#[test]
fn a_name_is_looked_up_and_then_followed_while_it_is_in_use() {
    let mut course = Course::new(2);
    course.check("a", "a", "", "");
    course.check("a", "", "", "");
    assert!(course.selection.is_idle());
    course.answer("a", Answer::Known);
    course.check("a", "", "a", "");
    assert!(!course.selection.is_idle());
    course.check("a", "", "", "");
    course.check("", "", "", "a");
    course.check("a", "a", "", "");
}

#[test]
fn a_name_that_is_not_known_costs_a_look_up_in_a_minute() {
    let mut course = Course::new(2);
    course.check("a", "a", "", "");
    course.answer("a", Answer::Unknown);
    course.check("a", "", "", "");
    course.wait(AGAIN - Duration::from_millis(1));
    course.check("a", "", "", "");
    course.wait(Duration::from_millis(1));
    course.check("a", "a", "", "");
    course.answer("a", Answer::None);
    course.wait(UNANSWERED);
    course.check("a", "a", "", "");
    // One that was followed and is no more is as one that never was.
    course.answer("a", Answer::Known);
    course.check("a", "", "a", "");
    course.answer("a", Answer::Unknown);
    course.check("a", "", "", "");
    assert!(course.selection.is_idle());
    course.answer("never-asked", Answer::Known);
    course.check("a", "", "", "");
}

#[test]
fn those_used_last_win_but_not_at_once() {
    let mut course = Course::new(2);
    course.check("a b", "a b", "", "");
    course.answer("a b", Answer::Known);
    course.check("a b", "", "a b", "");
    course.check("c a b", "c", "", "");
    course.answer("c", Answer::Known);
    course.check("c a b", "", "", "");
    course.wait(STAY);
    course.check("c a b", "", "c", "b");
    course.check("b a c", "", "b", "a");
    course.check("b a c", "", "", "");
}

#[test]
fn made_up_names_neither_push_anybody_out_nor_are_asked_for_all_at_once() {
    let mut course = Course::new(1);
    course.check("real", "real", "", "");
    course.answer("real", Answer::Known);
    course.check("real", "", "real", "");
    course.wait(STAY);
    let made_up: Vec<_> = (0..LOOK_UPS + 2).map(|nth| format!("x{nth}")).collect();
    let (first, rest) = made_up.split_at(LOOK_UPS);
    let all = format!("{} real", made_up.join(" "));
    course.check(&all, &first.join(" "), "", "");
    course.check(&all, "", "", "");
    course.answer(&first.join(" "), Answer::Unknown);
    course.check(&all, &rest.join(" "), "", "");
}
