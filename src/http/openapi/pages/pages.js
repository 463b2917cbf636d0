// Shows openapi.json: on /docs each route can be tried, on /redoc it is there to read. What is typed here stays in this
// page's memory, goes only to the service that served it, and is gone with the page.
'use strict';

const reading = document.documentElement.dataset.view === 'read';
const METHODS = ['get', 'post', 'put', 'patch', 'delete', 'head', 'options'];
// The field of each scheme's credential.
const typed = {};
let description;

// An element with attributes and children; a text is only ever a text.
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, '');
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}

// The little Markdown that descriptions have: `code`, and paragraphs.
function prose(text) {
  if (!text) return [];
  return text.split('\n\n').map((paragraph) =>
    element('p', {}, paragraph.split('`').map((part, at) => (at % 2 ? element('code', {}, part) : part))));
}

function resolve(value) {
  let found = value;
  while (found && found.$ref) {
    found = found.$ref.slice(2).split('/')
      .reduce((at, part) => at && at[part.replace(/~1/g, '/').replace(/~0/g, '~')], description);
  }
  return found || {};
}

const nameOf = (value) => (value && value.$ref ? value.$ref.split('/').pop() : '');

// What a schema asks of a value, in a line.
function kind(schema) {
  const own = resolve(schema);
  const words = [];
  if ('const' in own) words.push(JSON.stringify(own.const));
  else if (own.enum) words.push(own.enum.map((one) => JSON.stringify(one)).join(' | '));
  else if (own.anyOf) words.push(own.anyOf.map(kind).join(' | '));
  else if (own.type) words.push([].concat(own.type).join(' | '));
  else words.push('any');
  if (own.items) words.push(`of ${nameOf(own.items) || kind(own.items)}`);
  if (own.format) words.push(`(${own.format})`);
  const range = (least, most, unit) => {
    if (least == null && most == null) return;
    words.push((most == null ? `from ${least}` : least == null ? `up to ${most}` : `${least} to ${most}`) + unit);
  };
  range(own.minimum, own.maximum, '');
  range(own.minLength, own.maxLength, ' characters');
  range(own.minItems, own.maxItems, ' items');
  if (own.default !== undefined) words.push(`default ${JSON.stringify(own.default)}`);
  return words.join(' ');
}

// The members of a schema, and of those within it that have no name of their own.
function shape(schema, seen = []) {
  const own = resolve(schema);
  const name = nameOf(schema);
  if (name && seen.includes(name)) return [];
  const path = name ? [...seen, name] : seen;
  const inner = [];
  if (own.pattern) inner.push(element('p', { class: 'soft' }, 'pattern ', element('code', {}, own.pattern)));
  if (own.properties) {
    inner.push(element('ul', { class: 'members' }, Object.entries(own.properties).map(([member, value]) =>
      element('li', {}, element('code', {}, member), ' ',
        element('span', { class: 'soft' }, kind(value)), ' ',
        (own.required || []).includes(member) && element('span', { class: 'needed' }, 'required'),
        prose(resolve(value).description), nested(value, path)))));
  }
  if (own.properties || own.type === 'object') {
    inner.push(element('p', { class: 'soft' }, own.additionalProperties === false
      ? (own.properties ? 'No other members.' : 'No members.') : 'Other members may be there.'));
  }
  for (const one of own.anyOf || []) inner.push(...nested(one, path));
  if (own.items) inner.push(...nested(own.items, path));
  return inner;
}

// A schema with a name can be folded; one without stands where it is used.
function nested(schema, seen) {
  const name = nameOf(schema);
  const inner = shape(schema, seen);
  if (!inner.length) return [];
  return name ? [element('details', {}, element('summary', {}, element('code', {}, name)),
    prose(resolve(schema).description), inner)] : inner;
}

function pretty(value) {
  return typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}

function examplesOf(media) {
  const many = Object.entries(media.examples || {})
    .map(([name, example]) => [resolve(example).summary || name, resolve(example).value]);
  return 'example' in media ? [['example', media.example], ...many] : many;
}

function contents(content) {
  return Object.entries(content || {}).map(([type, media]) => {
    const examples = examplesOf(media);
    return element('div', {},
      element('p', { class: 'soft' }, type, ' ', element('code', {}, nameOf(media.schema))),
      shape(media.schema || {}),
      examples.map(([name, value]) => (examples.length === 1
        ? element('pre', { tabindex: 0, 'aria-label': 'Example' }, pretty(value))
        : element('details', {}, element('summary', {}, name), element('pre', { tabindex: 0 }, pretty(value))))));
  });
}

function responses(operation) {
  const entries = Object.entries(operation.responses).map(([status, reference]) => {
    const response = resolve(reference);
    const headers = Object.entries(response.headers || {});
    return element('details', { class: 'response' },
      element('summary', {}, element('span', { class: `status ${status < 400 ? 'good' : 'bad'}` }, status), ' ',
        element('span', { class: 'soft' }, response.description.replace(/`/g, ''))),
      headers.length > 0 && element('ul', { class: 'members' }, headers.map(([name, header]) =>
        element('li', {}, element('code', {}, name), prose(resolve(header).description)))),
      contents(response.content));
  });
  return [element('h3', {}, 'Answers'), ...entries];
}

function parametersOf(item, operation) {
  return [...(item.parameters || []), ...(operation.parameters || [])].map(resolve);
}

function parameters(all) {
  if (!all.length) return [];
  return [element('h3', {}, 'Parameters'), element('ul', { class: 'members' }, all.map((one) =>
    element('li', {}, element('code', {}, one.name), ' ', element('span', { class: 'soft' }, `in ${one.in}, ${kind(one.schema)}`), ' ',
      one.required && element('span', { class: 'needed' }, 'required'), prose(one.description), nested(one.schema, []))))];
}

function security(operation) {
  const names = (operation.security || []).map((one) => Object.keys(one).join(' and ') || 'nothing');
  return element('p', { class: 'soft' }, names.length ? `Needs: ${names.join(', or ')}.` : 'Needs no credential.');
}

function requestBody(operation) {
  const body = operation.requestBody && resolve(operation.requestBody);
  return body ? [element('h3', {}, body.required ? 'Body' : 'Body, if any'), ...contents(body.content)] : [];
}

// Every operation once; where only the method differs, once for all of them.
function operations() {
  const all = [];
  for (const [path, item] of Object.entries(description.paths)) {
    const any = item['x-any-method'];
    for (const method of METHODS) {
      if (item[method] && !(any && method !== 'get')) {
        all.push({ path, item, method: any ? 'any' : method, operation: item[method] });
      }
    }
  }
  return all;
}

function field(name, input, about) {
  return element('label', {}, element('span', {}, element('code', {}, name), about ? ` ${about}` : ''), input);
}

// A form that sends the operation and shows the answer.
function tryIt({ path, item, method, operation }) {
  const inputs = parametersOf(item, operation).map((parameter) => {
    const input = element('input', { name: parameter.name, autocomplete: 'off', spellcheck: 'false', required: parameter.required === true,
      placeholder: parameter.example === undefined ? '' : String(parameter.example) });
    return { parameter, input };
  });
  const choose = method === 'any' && element('select', { name: 'method' },
    METHODS.map((one) => element('option', {}, one.toUpperCase())));
  const [type, media] = Object.entries((resolve(operation.requestBody).content) || {})[0] || [];
  const examples = media ? examplesOf(media) : [];
  const body = media && element('textarea', { name: 'body', spellcheck: 'false', autocomplete: 'off' },
    examples.length && resolve(operation.requestBody).required ? pretty(examples[0][1]) : '');
  const pick = body && examples.map(([name, value]) =>
    element('button', { type: 'button', class: 'plain', onclick: () => { body.value = pretty(value); } }, `Example: ${name}`));
  const send = element('button', { type: 'submit' }, 'Send');
  const shown = element('div', { class: 'answer', role: 'status' });
  return element('form', { onsubmit: async (event) => {
    event.preventDefault();
    send.disabled = true;
    shown.replaceChildren(element('p', { class: 'soft' }, 'Sending…'));
    shown.replaceChildren(...await exchange({ path, method: choose ? choose.value : method.toUpperCase(), operation, inputs, type, body }));
    send.disabled = false;
  } }, element('h3', {}, 'Try it'),
  choose && field('method', choose),
  inputs.map(({ parameter, input }) => field(parameter.name, input, `in ${parameter.in}`)),
  body && field('body', body, type), pick, element('p', {}, send), shown);
}

function credentials(operation, headers) {
  for (const alternative of operation.security || []) {
    const names = Object.keys(alternative);
    if (names.length && names.every((name) => typed[name] && typed[name].value)) {
      for (const name of names) {
        const scheme = description.components.securitySchemes[name];
        if (scheme.type === 'apiKey') headers.set(scheme.name, typed[name].value);
        else headers.set('Authorization', `Bearer ${typed[name].value}`);
      }
      return;
    }
  }
}

async function exchange({ path, method, operation, inputs, type, body }) {
  const headers = new Headers();
  const query = new URLSearchParams();
  let target = path;
  try {
    for (const { parameter, input } of inputs) {
      if (parameter.in === 'path') target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value && parameter.in === 'query') query.append(parameter.name, input.value);
      else if (input.value) headers.set(parameter.name, input.value);
    }
    credentials(operation, headers);
    const options = { method, headers, cache: 'no-store', credentials: 'omit', redirect: 'manual', referrerPolicy: 'no-referrer' };
    if (body && body.value) {
      headers.set('Content-Type', type);
      options.body = body.value;
    }
    // Relative to where this page is, so that a prefix in front of the service does not matter.
    const url = new URL(`.${target}${query.size ? `?${query}` : ''}`, document.baseURI);
    const began = performance.now();
    const answer = await fetch(url, options);
    const text = await answer.text();
    const took = Math.round(performance.now() - began);
    let read = text;
    try { read = JSON.stringify(JSON.parse(text), null, 2); } catch { /* It is shown as it is. */ }
    return [
      element('p', {}, element('span', { class: `status ${answer.ok ? 'good' : 'bad'}` }, `${answer.status} ${answer.statusText}`),
        element('span', { class: 'soft' }, ` in ${took} ms: ${method} ${url.pathname}${url.search}`)),
      element('details', {}, element('summary', {}, 'Headers'), element('pre', { tabindex: 0 }, [...answer.headers].map(([name, value]) => `${name}: ${value}`).join('\n'))),
      text ? element('pre', { tabindex: 0, 'aria-label': 'Answer' }, read) : element('p', { class: 'soft' }, 'No body.'),
    ];
  } catch (error) {
    return [element('p', { class: 'status bad' }, `It could not be sent: ${error.message}`)];
  }
}

function authorise() {
  const schemes = Object.entries(description.components.securitySchemes || {});
  const fields = schemes.map(([name, scheme]) => {
    typed[name] = element('input', { type: 'password', autocomplete: 'off', spellcheck: 'false', id: `credential-${name}` });
    return field(name, typed[name], (scheme.description || '').replace(/`/g, ''));
  });
  const forget = () => { for (const input of Object.values(typed)) input.value = ''; };
  return element('section', { 'aria-labelledby': 'credentials' }, element('h2', { id: 'credentials' }, 'Authorise'),
    element('p', { class: 'soft' }, 'Sent only to this service, with the routes that take it; never stored.'),
    element('div', { class: 'credentials' }, fields),
    element('button', { type: 'button', class: 'plain', onclick: forget }, 'Forget'));
}

function operationView(one) {
  const { path, item, method, operation } = one;
  return element('details', { class: 'operation', id: operation.operationId, open: reading },
    element('summary', {}, element('span', { class: `method ${method}` }, method.toUpperCase()),
      element('code', {}, path), element('span', { class: 'about' }, operation.summary)),
    prose(operation.description), security(operation), parameters(parametersOf(item, operation)),
    requestBody(operation), responses(operation), !reading && tryIt(one));
}

function schemas() {
  const all = Object.entries(description.components.schemas);
  return element('section', { 'aria-labelledby': 'schemas' }, element('h2', { id: 'schemas' }, 'Schemas'),
    all.map(([name, schema]) => element('details', { id: `schema-${name}` }, element('summary', {}, element('code', {}, name), ' ',
      element('span', { class: 'soft' }, kind(schema))), prose(schema.description), shape(schema, [name]))));
}

function show() {
  document.getElementById('version').textContent = description.info.version;
  const main = document.getElementById('main');
  const list = document.getElementById('contents');
  const all = operations();
  const sections = description.tags.map((tag) => {
    const own = all.filter(({ operation }) => operation.tags.includes(tag.name));
    list.append(element('strong', {}, tag.name), ...own.map(({ path, method, operation }) =>
      element('a', { href: `#${operation.operationId}` }, element('span', { class: `method ${method}` }, method.toUpperCase()), path)));
    return element('section', {}, element('h2', {}, tag.name), prose(tag.description), own.map(operationView));
  });
  list.append(element('strong', {}, 'All'), element('a', { href: '#schemas' }, 'Schemas'));
  main.replaceChildren(...prose(description.info.description), ...(reading ? [] : [authorise()]), ...sections, schemas());
  window.addEventListener('hashchange', reveal);
  reveal();
}

// What a link leads to is opened.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.tagName === 'DETAILS') target.open = true;
  target.scrollIntoView();
}

async function load() {
  try {
    const answer = await fetch('openapi.json', { credentials: 'omit' });
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    description = await answer.json();
    show();
  } catch (error) {
    document.getElementById('state').textContent = `The description could not be loaded: ${error.message}`;
  }
}

load();
