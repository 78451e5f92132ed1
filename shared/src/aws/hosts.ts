/**
 * Where a region's services answer. A table by partition, never a test of how a name ends: a region that is in no
 * partition has no host, and what is in one yields that partition's own name.
 */

/** "AWS Service Endpoints" in the AWS General Reference; a partition has one rule for FIPS and dual-stack names. */
const PARTITIONS = [
  {
    name: 'aws',
    region: /^(us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-\d$/,
    suffix: 'amazonaws.com',
    dual: 'api.aws',
  },
  { name: 'aws-us-gov', region: /^us-gov-[a-z]+-\d$/, suffix: 'amazonaws.com', dual: 'api.aws' },
  {
    name: 'aws-cn',
    region: /^cn-[a-z]+-\d$/,
    suffix: 'amazonaws.com.cn',
    dual: 'api.amazonwebservices.com.cn',
  },
  {
    name: 'aws-eusc',
    region: /^eusc-de-[a-z]+-\d$/,
    suffix: 'amazonaws.eu',
    dual: 'api.amazonwebservices.eu',
  },
] as const;

export const PARTITION_NAMES = PARTITIONS.map(({ name }) => name);
export type Partition = (typeof PARTITIONS)[number]['name'];

/** Which of a region's names are called. */
export const ENDPOINTS = ['standard', 'fips', 'dual-stack', 'fips-dual-stack'] as const;
export type Endpoints = (typeof ENDPOINTS)[number];

/** Undefined for what is not a region. */
export function partitionOf(region: string): Partition | undefined {
  return PARTITIONS.find((each) => each.region.test(region))?.name;
}

/** The host of STS in a region; undefined for what is not a region. */
export function stsHost(region: string, endpoints: Endpoints): string | undefined {
  const partition = PARTITIONS.find((each) => each.region.test(region));
  if (partition === undefined) return undefined;
  const fips = endpoints === 'fips' || endpoints === 'fips-dual-stack';
  const suffix =
    endpoints === 'dual-stack' || endpoints === 'fips-dual-stack' ? partition.dual : partition.suffix;
  // GovCloud's regional name is the FIPS one.
  const service = fips && !(partition.name === 'aws-us-gov' && endpoints === 'fips') ? 'sts-fips' : 'sts';
  return `${service}.${region}.${suffix}`;
}
