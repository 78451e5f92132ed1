/** How far a database is on its way to the schema of today. */

/** Steps of the schema are made in order, all in one transaction: what is interrupted begins again. */
export interface Migrating {
  /** The schema that the file had. */
  readonly from: number;
  /** The step that begins now. */
  readonly step: number;
  readonly to: number;
}

/** Called before each step. */
export type OnMigrating = (at: Migrating) => void;
