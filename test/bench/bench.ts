/** What a benchmark is: it measures ratios inside one run and says what it found, for people and as JSON. */
export type Progress = (step: string) => void;

export interface Outcome {
  readonly table: readonly (readonly [string, string])[];
  readonly json: object;
}

export interface Bench {
  readonly says: string;
  /** Names of what can be measured alone. */
  readonly parts?: readonly string[];
  /** `only` names some of the parts; where it is empty, all are measured. */
  run(progress: Progress, only: readonly string[]): Promise<Outcome>;
}
