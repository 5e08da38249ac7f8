// Counters and a gate for tests, outside of the protected endpoint.
const start = () => ({ answers: {}, executed: {} });
let counts = start();
let held = [];
let streams = 0;
let watchers = [];

const state = () => ({ ...counts, waiting: held.length, streams });
const changed = () => {
  watchers = watchers.filter(({ wanted, done }) => {
    const now = state();
    const isSo = Object.entries(wanted).every(([name, value]) => now[name] === value);
    if (isSo) done(now);
    return !isSo;
  });
};

export const executed = (tool) => { counts.executed[tool] = (counts.executed[tool] ?? 0) + 1; };

// Waits until a test opens the gate.
export const pass = () => new Promise((resolve) => { held.push(resolve); changed(); });

// Counts each answer when its head leaves, and the open streams of GET.
export function counting(req, res, next) {
  const writeHead = res.writeHead.bind(res);
  res.writeHead = (...head) => {
    const sent = writeHead(...head);
    const answer = `${req.method} ${res.statusCode}`;
    counts.answers[answer] = (counts.answers[answer] ?? 0) + 1;
    if (answer === 'GET 200') {
      streams += 1;
      res.once('close', () => { streams -= 1; changed(); });
      changed();
    }
    return sent;
  };
  next();
}

export function control(app, ready) {
  app.get('/', (_req, res) => res.json(ready()));
  app.get('/stats', (_req, res) => res.json(state()));
  app.post('/until', (req, res) => { watchers.push({ wanted: req.body, done: (now) => res.json(now) }); changed(); });
  app.post('/release', (_req, res) => {
    const released = held;
    held = [];
    for (const go of released) go();
    res.json({ released: released.length });
  });
  app.post('/reset', (_req, res) => { counts = start(); res.json({}); });
}
