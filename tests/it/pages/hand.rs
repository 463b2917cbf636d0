//! What a person's hand does on a page: fills in, presses, chooses.

use serde_json::{Value, json};

use crate::support::{browser::Browser, service::Service};

/// A service with an operator's key, and a browser that shows its dashboard.
pub struct Hand {
    pub service: Service,
    /// The operator's secret.
    pub admin: String,
    pub browser: Browser,
}

impl Hand {
    pub fn at(service: Service) -> Self {
        let output = service.cli(&["create", "--name", "Operations", "--scope", "admin", "--json"]);
        assert!(output.status.success());
        let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let mut browser = Browser::start(&service);
        browser.size(1280, 900);
        browser.open(&service.url("/dashboard"));
        browser.wait("document.querySelector('form')");
        Self {
            admin: made["secret"].as_str().expect("a secret").to_owned(),
            service,
            browser,
        }
    }

    pub fn log_in_as_operator(&mut self) {
        self.browser
            .ask("document.querySelector('[name=kind][value=key]').click()");
        let admin = self.admin.clone();
        self.fill("api_key", &admin);
        self.press("Log in");
        self.wait_for_page("Overview");
    }

    /// Presses the last button of that name: one in a dialog stands behind those of the page.
    pub fn press(&mut self, name: &str) {
        let name = json!(name);
        let found = format!(
            "[...document.querySelectorAll('button')].findLast((one) => one.textContent === {name} && !one.hidden)"
        );
        self.browser.wait(&found);
        self.browser.ask(&format!("{found}.click()"));
    }

    pub fn follow(&mut self, name: &str) {
        let name = json!(name);
        let found =
            format!("[...document.querySelectorAll('main a, nav a')].find((one) => one.textContent === {name})");
        self.browser.wait(&found);
        self.browser.ask(&format!("{found}.click()"));
    }

    pub fn fill(&mut self, field: &str, text: &str) {
        self.set(&format!("[name={field}]"), text, "input");
    }

    pub fn choose(&mut self, field: &str, value: &str) {
        self.set(&format!("[name={field}]"), value, "change");
    }

    pub fn set(&mut self, selector: &str, value: &str, event: &str) {
        let (selector, value, event) = (json!(selector), json!(value), json!(event));
        self.browser.ask(&format!(
            "(() => {{ const field = [...document.querySelectorAll({selector})].at(-1); field.value = {value}; \
             field.dispatchEvent(new Event({event}, {{ bubbles: true }})); }})()"
        ));
    }

    pub fn wait_for_page(&mut self, title: &str) {
        let title = json!(title);
        self.browser
            .wait(&format!("document.querySelector('main h1')?.textContent === {title}"));
    }

    pub fn wait_for_text(&mut self, text: &str) {
        let text = json!(text);
        self.browser.wait(&format!("document.body.innerText.includes({text})"));
    }

    /// Waits until a figure shows this.
    pub fn wait_for_figure(&mut self, name: &str, shown: &str) {
        let shown = json!(shown);
        self.browser.wait(&format!(
            "document.querySelector('[data-figure=\"{name}\"] dd')?.textContent === {shown}"
        ));
    }

    /// The secret in the dialog that shows it, which is closed behind it.
    pub fn take_secret(&mut self) -> String {
        let field = "document.querySelector('dialog [aria-label=Secret]')";
        self.browser.wait(field);
        let secret = self.browser.text(&format!("{field}.value"));
        self.press("I have saved it");
        self.browser.wait("!document.querySelector('dialog')");
        secret
    }

    pub fn verify(&self, secret: &str) -> u16 {
        self.service.verify(secret).0
    }
}
