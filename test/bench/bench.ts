/** What a benchmark is: it measures ratios inside one run and says what it found, for people and as JSON. */
export type Progress = (step: string) => void;

export interface Outcome {
  readonly table: readonly (readonly [string, string])[];
  readonly json: object;
}

export interface Bench {
  readonly says: string;
  run(progress: Progress): Promise<Outcome>;
}
