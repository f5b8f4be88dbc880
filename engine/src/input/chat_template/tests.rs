use super::*;
use crate::task::chat::{Message, Role};

const SMOLLM2: &str =
    include_str!("../../../tests/fixtures/tokenizers/smollm2_chat_template.jinja");

fn render(source: &str, messages: &[Message]) -> Result<String, ChatTemplateError> {
    let options = ChatOptions {
        add_generation_prompt: true,
        bos_token: Some("<s>"),
        eos_token: Some("</s>"),
        ..ChatOptions::default()
    };
    ChatTemplate::new(source)?.render(messages, &options)
}

fn hello() -> Vec<Message> {
    vec![Message::new(Role::User, "Hi & <b>\n")]
}

#[test]
fn smollm2_puts_its_own_system_message_first() {
    let rendered = render(SMOLLM2, &hello()).unwrap();
    assert_eq!(
        rendered,
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging \
         Face<|im_end|>\n<|im_start|>user\nHi & <b>\n<|im_end|>\n<|im_start|>assistant\n"
    );
    let messages = [
        Message::new(Role::System, "S"),
        Message::new(Role::User, "U"),
    ];
    let rendered = render(SMOLLM2, &messages).unwrap();
    assert!(rendered.starts_with("<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU"));
}

#[test]
fn python_as_templates_write_it() {
    for (source, expected) in [
        ("{{ ' a '.strip() }}|{{ 'xxa'.lstrip('x') }}", "a|a"),
        (
            "{{ 'a,b,c'.split(',')[-1] }}{{ ' a  b '.split() | join('-') }}",
            "ca-b",
        ),
        (
            "{{ 'a b c'.split(None, 1) | length }}{{ 'a.b.c'.rsplit('.', 1)[0] }}",
            "2a.b",
        ),
        (
            "{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}",
            "TrueTrue",
        ),
        (
            "{{ 'aXb'.replace('X', '-').upper() }}{{ 'hello world'.title() }}",
            "A-BHello World",
        ),
        ("{{ {'a': 1}.get('b', 2) }}{{ {'a': 1}.get('a') }}", "21"),
        (
            "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{% endfor %}",
            "b1a2",
        ),
        ("{{ messages[0].content.strip() }}", "Hi & <b>"),
        (
            "{{ {'b': [1, 'é<'], 'a': none} | tojson }}",
            r#"{"b": [1, "é<"], "a": null}"#,
        ),
        ("{{ [1] | tojson(indent=2) }}", "[\n  1\n]"),
        (
            "{{ bos_token }}{{ tools is none }}{{ undefined_thing is defined }}",
            "<s>TrueFalse",
        ),
        (
            "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}",
            "01",
        ),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "1",
        ),
        ("{%- generation %}\nx\n{%- endgeneration %}", "x"),
        // trim_blocks and lstrip_blocks.
        ("a\n  {% if true %}\nb\n  {% endif %}\nc", "a\nb\nc"),
        ("{{ strftime_now is defined }}", "False"),
        (
            "{{ 'x' ~ 1 }}{{ messages[::-1] | length }}{{ not false }}",
            "x11True",
        ),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m('y') }}", "<y>"),
        (
            "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
            "1",
        ),
    ] {
        assert_eq!(
            render(source, &hello()).as_deref(),
            Ok(expected),
            "{source}"
        );
    }
}

#[test]
fn a_clock_gives_the_date() {
    let template = ChatTemplate::new("{{ strftime_now('%d %b %Y') }}").unwrap();
    let options = ChatOptions {
        now: Some(1_700_000_000),
        ..ChatOptions::default()
    };
    assert_eq!(template.render(&[], &options).unwrap(), "14 Nov 2023");
}

#[test]
fn tools_keep_their_order() {
    let template = ChatTemplate::new("{{ tools | tojson }}").unwrap();
    let options = ChatOptions {
        tools: Some(r#"[{"type":"function","name":"b","a":1}]"#),
        ..ChatOptions::default()
    };
    let rendered = template.render(&[], &options).unwrap();
    assert_eq!(rendered, r#"[{"type": "function", "name": "b", "a": 1}]"#);
}

#[test]
fn memory_is_bounded_however_a_template_grows_it() {
    let loops = |set: &str, step: &str| {
        format!(
            "{{% set ns = namespace({set}) %}}\n{{% for i in range(64) %}}{step}{{% endfor %}}{{{{ ns.x | length }}}}"
        )
    };
    let text = "x='0123456789abcdef'";
    for source in [
        loops(text, "{% set ns.x = ns.x ~ ns.x %}"),
        loops(text, "{% set ns.x = ns.x + ns.x %}"),
        loops(text, "{% set ns.x = ns.x * 64 %}"),
        loops(text, "{% set ns.x = [ns.x, ns.x] | join(ns.x) %}"),
        loops(text, "{% set ns.x = ns.x | replace('0', ns.x) %}"),
        loops(text, "{% set ns.x = ns.x.replace('0', ns.x) %}"),
        loops(text, "{% set ns.x = ns.x.join([ns.x, ns.x]) %}"),
        loops(text, "{% set ns.x = '\\n\\n' | indent(1000000000, true, true) %}"),
        loops(text, "{% set ns.x = 'a' | indent(width=1000000000, first=true) %}"),
        loops(text, "{% set ns.x = [1] | batch(1000000000, 0) | list %}"),
        loops(text, "{% set ns.x = [1] | slice(1000000000) | list %}"),
        loops(text, "{% set ns.x = [ns.x, ns.x] %}"),
        loops(text, "{% set ns.x = {'a': ns.x, 'b': ns.x} %}"),
        loops(text, "{% set ns.x = [ns.x, ns.x] | string %}"),
        loops(text, "{% set ns.x = [ns.x, ns.x] | tojson %}"),
        loops("x=[1]", "{% set ns.x = ns.x + ns.x %}"),
        loops("x=[1]", "{% set ns.x = ns.x * 100000 %}"),
        loops(text, "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}"),
        // Kept by the thousands.
        "{% set ns = namespace(l=[]) %}{% set x = 'a' * 1000000 %}{% for i in range(5000) %}{% set ns.l = ns.l + [x | upper] %}{% endfor %}"
            .to_owned(),
        // What stands between the tags, captured over and over.
        format!(
            "{{% set x %}}{{% for i in range(90000) %}}{}{{% endfor %}}{{% endset %}}",
            "a".repeat(100_000)
        ),
        // As deep as there is fuel.
        "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}"
            .to_owned(),
    ] {
        let error = render(&source, &hello()).unwrap_err();
        let shown: String = source.chars().take(120).collect();
        assert!(
            matches!(
                error,
                ChatTemplateError::TooMuchMemory { .. } | ChatTemplateError::TooMuchOutput
            ),
            "{shown}: {error}"
        );
    }
    // A namespace that holds itself would never end.
    let cycle = "{% set ns = namespace(x=1) %}{% set ns.x = [ns] %}{{ ns }}";
    assert!(matches!(
        render(cycle, &hello()),
        Err(ChatTemplateError::Template { .. })
    ));
    let line = render("\n\n{{ 'abc' * 100000000 }}", &hello()).unwrap_err();
    assert!(
        line.to_string().contains("line 3") && line.to_string().contains("memory"),
        "{line}"
    );
}

#[test]
fn long_conversations_fit() {
    let content = "word ".repeat(200);
    let messages: Vec<Message> = (0..2000)
        .map(|i| Message::new([Role::User, Role::Assistant][i % 2], &content))
        .collect();
    let rendered = render(SMOLLM2, &messages).unwrap();
    assert!(rendered.len() > 2000 * content.len());
    // One that collects its text as it goes makes it anew with every message.
    let collecting = "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t ~ m.role ~ ': ' ~ m.content.strip() + '\n' %}{% endfor %}{{ ns.t }}";
    let rendered = render(collecting, &messages[..100]).unwrap();
    assert!(rendered.ends_with("word\n") && rendered.starts_with("user: word"));
}

#[test]
fn operators_are_those_of_jinja() {
    for (source, expected) in [
        (
            "{{ 1 + 2 }} {{ 1.5 * 2 }} {{ [1] + [2, 3] }} {{ 'ab' * 2 }}",
            "3 3.0 [1, 2, 3] abab",
        ),
        ("{{ 1 ~ none ~ [1, 2] ~ true }}", "1None[1, 2]True"),
        ("{{ ('a' if 1 + 1 == 2 else 'b') ~ ('c' and 'd') }}", "ad"),
        (
            "{{ [1, 2] | join('-') }} {{ 'aba' | replace('a', 'c') }}",
            "1-2 cbc",
        ),
        (
            "{{ 'a\nb' | indent(2) }}|{{ 'a\nb' | indent(width=1, first=true) }}",
            "a\n  b| a\n b",
        ),
        (
            "{% for row in [1, 2, 3] | batch(2) %}{{ row | length }}{% endfor %}",
            "21",
        ),
        (
            "{% macro m(x, n) %}{% if n > 0 %}{{ x ~ n }},{{ m(x, n - 1) }}{% endif %}{% endmacro %}{{ m('a', 3) }}",
            "a3,a2,a1,",
        ),
        (
            "{% for x in [1, [2, [3]]] recursive %}{% if x is number %}{{ x }}{% else %}({{ loop(x) }}){% endif %}{% endfor %}",
            "1(2(3))",
        ),
        (
            "{% for x in [] %}a{% else %}b{% endfor %}{% set y %}c{% endset %}{{ y + 'd' }}",
            "bcd",
        ),
        ("{% filter upper %}a{{ 'b' ~ 'c' }}{% endfilter %}", "ABC"),
        ("{{ messages[0].content[:2] + '!' }}", "Hi!"),
    ] {
        assert_eq!(
            render(source, &hello()).as_deref(),
            Ok(expected),
            "{source}"
        );
    }
    assert!(matches!(
        render("{{ 1 + 'a' }}", &hello()),
        Err(ChatTemplateError::Template { line: 1, .. })
    ));
}

#[test]
fn what_a_template_does_wrong_is_told_apart() {
    use ChatTemplateError as E;
    let refused = render("{{ raise_exception('roles must alternate') }}", &hello());
    assert_eq!(refused, Err(E::Refused("roles must alternate".into())));
    let forever =
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    assert_eq!(render(forever, &hello()), Err(E::Endless));
    let in_macro = "{% macro m(x) %}{{ m(x) }}{{ m(x) }}{% endmacro %}{{ m(1) }}";
    assert!(render(in_macro, &hello()).is_err());
    let much = "{% set x = 'a' * 60000 %}{% for i in range(1000) %}{{ x }}{% endfor %}";
    assert_eq!(render(much, &hello()), Err(E::TooMuchOutput));
    assert!(matches!(
        render("{% if %}", &hello()),
        Err(E::Template { line: 1, .. })
    ));
    assert!(matches!(
        render("\n\n{{ a.b.c }}", &hello()),
        Err(E::Template { line: 3, .. })
    ));
    assert!(matches!(
        render("{{ 'a'.fly() }}", &hello()),
        Err(E::Template { .. })
    ));
    assert!(matches!(
        render(&" ".repeat(300 << 10), &hello()),
        Err(E::TooLong { .. })
    ));
    let deep = format!(
        "{}{}",
        "{% if true %}".repeat(3000),
        "{% endif %}".repeat(3000)
    );
    assert!(render(&deep, &hello()).is_err());
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(3000), ")".repeat(3000));
    assert!(render(&deep, &hello()).is_err());
}
