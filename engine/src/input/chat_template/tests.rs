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
