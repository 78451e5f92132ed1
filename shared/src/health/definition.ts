/** What a metric is, for the printed reference. */

/** A metric as its HELP and TYPE lines say it. */
export interface MetricDefinition {
  readonly name: string;
  readonly help: string;
  /** `counter`, `gauge` or `histogram`. */
  readonly type: string;
  readonly labels: readonly string[];
}

/** Of metrics of prom-client, whose types do not tell the labels. Node's own are left out. */
export const definitionsOf = (metrics: readonly object[]): readonly MetricDefinition[] =>
  (metrics as readonly (Omit<MetricDefinition, 'labels'> & { readonly labelNames: readonly string[] })[])
    .filter(({ name }) => name.startsWith('chancery_'))
    .map(({ name, help, type, labelNames }) => ({ name, help, type, labels: labelNames }));
