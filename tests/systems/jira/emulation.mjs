// A Jira of our own, as small as the adapter's tests need it: what it says is held against the vendor's description by prism, which
// stands in front of it. `node emulation.mjs PORT cloud|datacenter`. What people and administrators do comes in below `/-/`.
import { createServer } from 'node:http';

const [port, deployment] = process.argv.slice(2);
const cloud = deployment === 'cloud';
const projects = new Map(); // by key, by former keys as well
const issues = new Map(); // likewise
const versions = new Map();
const tokens = new Map();
const busy = new Set();
let last = 10000;
let clock = 0;

const next = () => String(++last);
// Later each time: a test is faster than Jira's clock is fine.
const now = () => new Date(Date.UTC(2026, 10, 20) + ++clock).toISOString().replace('Z', '+0000');

const TYPES = ['Release review', 'Readiness checklist', 'Release', 'Review queue'];
const text = 'com.atlassian.jira.plugin.system.customfieldtypes:textfield';
const FIELDS = [
  ['Release', TYPES], ['Review version', TYPES], ['Service', TYPES], ['Service version', TYPES], ['Bundle', [TYPES[0]]],
  ['Digest', [TYPES[0]]], ['Accepted event', [TYPES[0]]], ['Closed by', TYPES.slice(1)],
].map(([name, types], place) => ({ id: 10101 + place, name, types, type: 'string', custom: text, searchable: true }))
  .concat([
    { id: 10109, name: 'Size', types: TYPES, type: 'number', custom: text.replace('textfield', 'float'), searchable: true },
    { id: 10110, name: 'Hidden', types: TYPES, type: 'string', custom: text, searchable: false },
  ]);
const MARKER = 'customfield_10108';
const WORD = 'customfield_10110';

// Each issue type has a workflow of its own, each project has its own: no id means the same twice. What leads elsewhere comes first.
const WORKFLOWS = {
  'Release review': { open: ['Open'], done: 'Accepted', category: 'indeterminate' },
  'Readiness checklist': { open: ['Open', 'In Progress'], done: 'Closed', category: 'done' },
  Release: { open: ['In Review', 'In Progress'], done: 'Approved', category: 'indeterminate' },
  'Review queue': { open: ['Waiting', 'In Progress'], done: 'Cleared', category: 'done' },
};
const workflow = (base, type) => {
  const { open, done } = WORKFLOWS[type];
  const id = (place) => String(base + 100 * TYPES.indexOf(type) + place);
  return open.flatMap((from, place) => [
    { id: id(10 * place + 1), name: 'Reject', from, to: 'Rejected', screen: [MARKER] },
    { id: id(10 * place + 2), name: 'Later', from, to: open[(place + 1) % open.length], screen: [] },
    { id: id(10 * place + 3), name: 'With a word', from, to: done, screen: [MARKER, WORD], required: [WORD] },
    { id: id(10 * place + 4), name: done, from, to: done, screen: [MARKER] },
  ]).concat({ id: id(91), name: 'Again', from: done, to: open[0], screen: [] });
};
const category = (type, status) => {
  const key = status === 'Rejected' ? 'done' : status === WORKFLOWS[type].done ? WORKFLOWS[type].category : 'new';
  return { id: { new: 2, indeterminate: 4, done: 3 }[key], key, name: key, colorName: 'blue-gray', self: `${here}/statuscategory/${key}` };
};
const statuses = (type) => [...WORKFLOWS[type].open, WORKFLOWS[type].done, 'Rejected'];
const status = (type, name) => ({
  self: `${here}/status/${name}`, description: '', iconUrl: `${here}/icon.png`, name, id: String(statuses(type).indexOf(name) + 1),
  statusCategory: category(type, name),
});
const here = `http://127.0.0.1:${port}/rest/api/3`;

class Reply extends Error {
  constructor(code, body, type) { super(String(code)); Object.assign(this, { code, body, type }); }
}
const refuse = (code, message, errors = {}) => new Reply(code, { errorMessages: message ? [message] : [], errors });
const NOT_THERE = 'Issue does not exist or you do not have permission to see it.';

/// Who asks. In the cloud a token that was revoked is nobody's; who shows a wrong one is told.
function who(request) {
  const [scheme, shown = ''] = (request.headers.authorization ?? '').split(' ');
  if (!shown) return { may: () => false };
  const [user, token] = scheme === 'Basic' ? Buffer.from(shown, 'base64').toString().split(':') : [null, shown];
  const known = tokens.get(token);
  if (!known || (user !== null && known.user !== user)) throw refuse(401, 'Client must be authenticated to access this resource.');
  if (known.revoked && !cloud) throw new Reply(401, '<html>Unauthorized (401)</html>', 'text/html');
  return known.revoked ? { may: () => false } : { name: known.user, may: (project, what) => known.may[project.id]?.includes(what) };
}

function issueFor(me, key) {
  const issue = issues.get(key);
  if (!issue || !me.may(issue.project, 'BROWSE_PROJECTS')) throw refuse(404, NOT_THERE);
  return issue;
}
function projectFor(me, key) {
  const project = projects.get(key);
  if (!project || !me.may(project, 'BROWSE_PROJECTS')) throw refuse(404, `No project could be found with key '${key}'.`);
  return project;
}

/// A long text: a document in version 3, as typed in version 2.
function long(api, lines) {
  if (api === 2 || lines === null) return lines;
  const words = (line) => (line ? [{ type: 'text', text: line }] : []);
  const content = [];
  for (const line of lines.split('\n')) {
    const task = /^- \[(.)\] (.*)$/.exec(line);
    if (!task) content.push({ type: 'paragraph', content: words(line) });
    else {
      if (content.at(-1)?.type !== 'taskList') content.push({ type: 'taskList', attrs: { localId: 'l' }, content: [] });
      content.at(-1).content.push({ type: 'taskItem', attrs: { localId: 'i', state: task[1] === ' ' ? 'TODO' : 'DONE' }, content: words(task[2]) });
    }
  }
  return { type: 'doc', version: 1, content };
}

function show(api, issue, query) {
  const asked = (query.get('fields') ?? '').split(',');
  const all = {
    summary: issue.summary, status: status(issue.type, issue.status), updated: issue.updated, labels: issue.labels,
    issuetype: { self: `${here}/issuetype/1`, id: String(TYPES.indexOf(issue.type) + 1), name: issue.type, subtask: false },
    project: { id: issue.project.id, key: issue.project.key },
    fixVersions: issue.fixVersions.map((id) => ({ self: `${here}/version/${id}`, id, name: versions.get(id).name })),
    description: long(api, issue.description),
    subtasks: issue.subtasks.map((task) => ({
      id: task.id, key: task.key, fields: { summary: task.summary, status: status(TYPES[1], task.done ? 'Closed' : 'Open') },
    })),
  };
  for (const field of FIELDS.filter((field) => field.types.includes(issue.type))) {
    all[`customfield_${field.id}`] = issue.fields[`customfield_${field.id}`] ?? null;
  }
  const fields = Object.fromEntries(asked.filter((name) => name in all).map((name) => [name, all[name]]));
  const named = (query.get('properties') ?? '').split(',').filter((name) => name in issue.properties);
  const properties = Object.fromEntries(named.map((name) => [name, issue.properties[name]]));
  return { id: issue.id, key: issue.key, self: `${here}/issue/${issue.id}`, fields, properties };
}

/// The few words of JQL that are spoken here. A text is found by its words, whatever else there is around them.
function search(me, jql) {
  const unquoted = (quoted) => JSON.parse(quoted);
  const found = /^project = ("(?:[^"\\]|\\.)*") AND issuetype = ("(?:[^"\\]|\\.)*")(?: AND (?:cf\[(\d+)\] ~ ("(?:[^"\\]|\\.)*")|labels = ("(?:[^"\\]|\\.)*")))? ORDER BY key ASC$/.exec(jql);
  if (!found) throw refuse(400, `Error in the JQL Query: ${jql}`);
  const [key, type] = [unquoted(found[1]), unquoted(found[2])];
  const project = projects.get(key);
  if (!project || !me.may(project, 'BROWSE_PROJECTS')) throw refuse(400, `The value '${key}' does not exist for the field 'project'.`);
  if (!TYPES.includes(type)) throw refuse(400, `The value '${type}' does not exist for the field 'issuetype'.`);
  const words = found[4] && unquoted(unquoted(found[4])).toLowerCase();
  const all = [...new Set(issues.values())].filter((issue) => issue.project === project && issue.type === type && !isArchived(issue));
  return all.filter((issue) => {
    if (words) return String(issue.fields[`customfield_${found[3]}`] ?? '').toLowerCase().includes(words);
    return !found[5] || issue.labels.includes(unquoted(found[5]));
  });
}

/// Whether nothing can be changed there, and no search finds it.
const isArchived = (issue) => issue.archived || issue.project.archived;

const ways = (issue) => workflow(issue.project.base, issue.type)
  .filter((way) => way.from === issue.status && !(issue.project.stuck && way.to === WORKFLOWS[issue.type].done))
  .map((way) => (issue.project.screens ? way : { ...way, screen: [], required: [] }));

async function transit(me, issue, body) {
  const may = me.may(issue.project, 'TRANSITION_ISSUES') && !isArchived(issue);
  const way = () => ways(issue).find((way) => way.id === body.transition?.id);
  const not = () => refuse(400, 'It seems that you have tried to perform a workflow operation that is not valid for the current state of this issue.');
  if (!may || !way()) throw not();
  for (const [field, value] of Object.entries(body.fields ?? {})) {
    if (!way().screen.includes(field)) {
      throw refuse(400, null, { [field]: `Field '${field}' cannot be set. It is not on the appropriate screen, or unknown.` });
    }
    if (typeof value !== 'string' || value.length > 255) throw refuse(400, null, { [field]: 'Text of at most 255 characters is required.' });
  }
  const missing = (way().required ?? []).find((field) => !body.fields?.[field]);
  if (missing) throw refuse(400, null, { [missing]: `Field '${missing}' is required.` });
  if (cloud && busy.has(issue)) throw refuse(409, 'The issue is being changed by somebody else.');
  busy.add(issue);
  await new Promise((done) => setTimeout(done, 15));
  busy.delete(issue);
  if (!way()) throw not();
  Object.assign(issue, { status: way().to, updated: now() });
  Object.assign(issue.fields, body.fields);
  issue.history.push({ by: me.name, to: issue.status });
  return new Reply(204);
}

function link(me, issue, { globalId, relationship, object }) {
  if (!me.may(issue.project, 'LINK_ISSUES') || isArchived(issue)) throw refuse(403, 'No Link Issue Permission for issue.');
  if (!object?.url || !object?.title) throw refuse(400, null, { title: "'title' is required." });
  if ((globalId ?? '').length > 255 || object.title.length > 255) throw refuse(400, null, { globalId: 'Too long.' });
  const kept = globalId && issue.links.find((link) => link.globalId === globalId);
  const made = kept ?? { id: ++last };
  // What is not said anew is gone.
  for (const name of Object.keys(made)) if (name !== 'id') delete made[name];
  Object.assign(made, { self: `${here}/issue/${issue.key}/remotelink/${made.id}`, ...(globalId && { globalId }), ...(relationship && { relationship }), object });
  if (!kept) issue.links.push(made);
  return new Reply(kept ? 200 : 201, { id: made.id, self: made.self });
}

async function answer(api, method, path, query, me, body) {
  const [what, id, below] = path;
  const field = (name, way) => ({ required: Boolean(way.required?.includes(name)), hasDefaultValue: false, schema: { type: 'string', custom: text, customId: Number(name.slice(12)) }, name: 'Closed by', key: name, operations: ['set'] });
  switch (`${method} ${what}${below ? `/${below}` : ''}`) {
    case 'GET serverInfo':
      return { baseUrl: here, version: '1001.0.0', versionNumbers: [1001, 0, 0], deploymentType: cloud ? 'Cloud' : 'Server', buildNumber: 1 };
    case 'GET myself':
      if (!me.name) throw refuse(401, 'Client must be authenticated to access this resource.');
      return { self: `${here}/user`, displayName: 'Bot', emailAddress: me.name, active: true };
    case 'GET mypermissions': {
      const project = projectFor(me, query.get('projectKey'));
      const one = (key) => [key, { id: '1', key, name: key, type: 'PROJECT', description: '', havePermission: Boolean(me.may(project, key)) }];
      return { permissions: Object.fromEntries(query.get('permissions').split(',').map(one)) };
    }
    case 'GET project': {
      const { id: number, key, name, archived } = projectFor(me, id);
      return { self: `${here}/project/${number}`, id: number, key, name, ...((archived || !cloud) && { archived }) };
    }
    case 'GET project/statuses':
      projectFor(me, id);
      return TYPES.map((name, place) => ({
        self: here, id: String(place + 1), name, subtask: false, statuses: statuses(name).map((word) => status(name, word)),
      }));
    case 'GET field':
      return FIELDS.map(({ id: number, name, type, custom, searchable }) => ({
        id: `customfield_${number}`, key: `customfield_${number}`, name, custom: true, orderable: true, navigable: true, searchable,
        clauseNames: [`cf[${number}]`, name], schema: { type, custom, customId: number },
      }));
    case 'GET issue':
      return show(api, issueFor(me, id), query);
    case 'GET issue/transitions': {
      const issue = issueFor(me, id);
      const open = me.may(issue.project, 'TRANSITION_ISSUES') && !isArchived(issue) ? ways(issue) : [];
      return {
        expand: 'transitions',
        transitions: open.map((way) => ({
          id: way.id, name: way.name, to: status(issue.type, way.to), hasScreen: way.screen.length > 0, isAvailable: true,
          fields: Object.fromEntries(way.screen.map((name) => [name, field(name, way)])),
        })),
      };
    }
    case 'POST issue/transitions':
      return transit(me, issueFor(me, id), body);
    case 'GET issue/remotelink':
      return issueFor(me, id).links;
    case 'POST issue/remotelink':
      return link(me, issueFor(me, id), body);
    case 'GET search': {
      if (id === 'jql' ? !cloud || api !== 3 : cloud) {
        throw refuse(410, 'The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.');
      }
      const found = search(me, query.get('jql'));
      const size = Math.min(Number(query.get('maxResults') ?? 50), 50);
      const start = id === 'jql' ? Number(Buffer.from(query.get('nextPageToken') ?? 'MA==', 'base64').toString()) : Number(query.get('startAt') ?? 0);
      const page = found.slice(start, start + size).map((issue) => show(api, issue, query));
      if (id !== 'jql') return { startAt: start, maxResults: size, total: found.length, issues: page };
      const isLast = start + size >= found.length;
      return { issues: page, isLast, ...(!isLast && { nextPageToken: Buffer.from(String(start + size)).toString('base64') }) };
    }
    default:
      throw new Reply(404, '<html>Not found</html>', 'text/html');
  }
}

/// What people and administrators do.
function deed(method, [what, id], body) {
  const rekey = (map, thing, key) => map.set(key, Object.assign(thing, { key })) && thing;
  switch (`${method} ${what}`) {
    case 'POST projects': {
      const project = { id: next(), name: body.key, base: projects.size * 1000, numbers: 0, screens: true, archived: false };
      return rekey(projects, project, body.key);
    }
    case 'PATCH projects': {
      const project = projects.get(id);
      const { key, ...rest } = body;
      Object.assign(project, rest);
      if (key) {
        rekey(projects, project, key);
        for (const issue of new Set(issues.values())) {
          if (issue.project === project) rekey(issues, issue, `${key}-${issue.key.split('-')[1]}`);
        }
      }
      return project;
    }
    case 'POST tokens':
      return tokens.set(body.token, { may: {}, ...body }).get(body.token);
    case 'PATCH tokens':
      return Object.assign(tokens.get(id), body);
    case 'POST versions':
      return versions.set(String(last + 1), { id: next(), ...body }).get(String(last));
    case 'PATCH versions':
      return Object.assign(versions.get(id), body);
    case 'POST issues': {
      const { project: key, ...rest } = body;
      const project = projects.get(key);
      const issue = {
        id: next(), project, summary: '', labels: [], fixVersions: [], description: null, subtasks: [], fields: {}, properties: {},
        links: [], history: [], updated: now(), status: WORKFLOWS[rest.type].open[0], ...rest,
      };
      return rekey(issues, issue, `${project.key}-${++project.numbers}`);
    }
    case 'PATCH issues': {
      const issue = issues.get(id);
      const { fields, moveTo, touch = true, ...rest } = body;
      Object.assign(issue, rest, touch && { updated: now() });
      Object.assign(issue.fields, fields);
      if (moveTo) {
        issue.project = projects.get(moveTo);
        rekey(issues, issue, `${moveTo}-${++issue.project.numbers}`);
      }
      return issue;
    }
    case 'GET issues':
      return issues.get(id);
    case 'DELETE issues':
      return { removed: issues.delete(id) };
    default:
      throw new Reply(404, {});
  }
}

createServer(async (request, response) => {
  let reply;
  try {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    const sent = Buffer.concat(pieces).toString();
    const url = new URL(request.url, 'http://x');
    const [first, ...path] = url.pathname.split('/').slice(1).map(decodeURIComponent);
    let body = null;
    try { body = sent ? JSON.parse(sent) : null; } catch { throw refuse(400, 'Unexpected character'); }
    let said;
    if (first === '-') said = deed(request.method, path, body);
    else {
      const api = Number(path[1]);
      if (first !== 'rest' || path[0] !== 'api' || !(api === 2 || (api === 3 && cloud))) {
        throw new Reply(404, '<html>Not found</html>', 'text/html');
      }
      said = await answer(api, request.method, path.slice(2), url.searchParams, who(request), body);
    }
    reply = said instanceof Reply ? said : new Reply(200, said);
  } catch (error) {
    reply = error instanceof Reply ? error : new Reply(500, { errorMessages: [String(error)], errors: {} });
    if (!(error instanceof Reply)) console.error(error);
  }
  const { code, body, type = 'application/json;charset=UTF-8' } = reply;
  if (code === 204) response.writeHead(204).end();
  else response.writeHead(code, { 'content-type': type }).end(typeof body === 'string' ? body : JSON.stringify(body));
}).listen(Number(port), '127.0.0.1');
