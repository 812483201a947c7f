// SPDX-License-Identifier: Apache-2.0
// Reads a block with DuckDB: node read_block.js data.parquet; prints facts about it as JSON.
const { DuckDBInstance } = require('@duckdb/node-api');

async function main() {
  const file = process.argv[2].replace(/'/g, "''");
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  const rows = async (sql) => (await connection.runAndReadAll(sql)).getRowObjectsJson();
  const [counts] = await rows(`select count(*) as traces,
      count(distinct "TraceID") as ids,
      sum(list_sum(list_transform(rs, r -> list_sum(list_transform(r.ss, s -> len(s."Spans"))))))
          as spans,
      min("StartTimeUnixNano")::varchar as start, max("EndTimeUnixNano")::varchar as finish
      from read_parquet('${file}')`);
  const services = await rows(`select distinct r."Resource"."ServiceName" as name from
      (select unnest(rs) as r from read_parquet('${file}')) order by name`);
  const roots = await rows(`select "TraceIDText" as id, "RootServiceName" as service,
      "RootSpanName" as name from read_parquet('${file}')`);
  console.log(JSON.stringify({ counts, services: services.map((s) => s.name), roots }));
}
main().catch((error) => { console.error(error); process.exit(1); });
