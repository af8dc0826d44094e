// Validates dashboards (the arguments) against the types of @grafana/schema: the dashboard as a whole, and for each
// panel its options and field settings by its type. Prints a JSON list of what is wrong.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { createGenerator } = require('ts-json-schema-generator');
const Ajv = require('ajv');

const types = new URL('node_modules/@grafana/schema/dist/esm/', import.meta.url).pathname;
const panelTypes = {
  timeseries: 'timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.d.ts',
  stat: 'stat/panelcfg/x/StatPanelCfg_types.gen.d.ts',
  'state-timeline': 'statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen.d.ts',
  heatmap: 'heatmap/panelcfg/x/HeatmapPanelCfg_types.gen.d.ts',
};
const wrong = [];
const validators = new Map();

function validator(path, type) {
  const name = `${path}:${type}`;
  if (!validators.has(name)) {
    const schema = createGenerator({ path: types + path, type, skipTypeCheck: true, additionalProperties: false })
      .createSchema(type);
    validators.set(name, new Ajv({ strict: false, allErrors: true }).compile(schema));
  }
  return validators.get(name);
}

function check(where, path, type, value) {
  const validate = validator(path, type);
  if (!validate(value)) {
    for (const { instancePath, message, params } of validate.errors)
      wrong.push(`${where}: ${instancePath} ${message} ${JSON.stringify(params)}`);
  }
}

for (const file of process.argv.slice(2)) {
  const name = basename(file);
  const dashboard = JSON.parse(readFileSync(file, 'utf8'));
  // What the data source adds to an annotation has no type there.
  for (const annotation of dashboard.annotations.list)
    for (const field of ['expr', 'titleFormat', 'textFormat']) delete annotation[field];
  check(name, 'raw/dashboard/x/dashboard_types.gen.d.ts', 'Dashboard', dashboard);
  for (const panel of dashboard.panels) {
    if (panel.type === 'row') continue;
    const path = `raw/composable/${panelTypes[panel.type]}`;
    check(`${name}: ${panel.title}: options`, path, 'Options', panel.options);
    if (panel.fieldConfig.defaults.custom)
      check(`${name}: ${panel.title}: custom`, path, 'FieldConfig', panel.fieldConfig.defaults.custom);
  }
}
console.log(JSON.stringify(wrong));
