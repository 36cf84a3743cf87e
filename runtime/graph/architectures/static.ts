// StaticEmbedding and Model2Vec: a table of token vectors, and nothing behind it but the mean.
import { integerOf } from '../../model/description.ts';
import { ROW_OF_TOKEN, TABLE_NAMES, TOKEN_WEIGHTS } from '../../model/static.ts';
import { toRows } from '../layout.ts';
import type { Architecture } from '../ops.ts';

export const staticEmbedding: Architecture = {
  modelTypes: ['static_embedding'],
  classes: ['StaticEmbedding'],
  encode(context, weights, { config }) {
    const { graph, layout, compute } = context;
    const width = integerOf(config, ['hidden_size']);
    const tokens = integerOf(config, ['vocab_size']);
    const shape = [integerOf(config, ['table_size']), width] as const;
    const name = TABLE_NAMES.find((one) => weights.has(one)) ?? TABLE_NAMES[0];
    const isPlain = !weights.has(ROW_OF_TOKEN) && !weights.has(TOKEN_WEIGHTS);
    const fed = isPlain && context.feedTokenEmbeddings ? weights.rowsOf(name, shape) : undefined;
    if (fed !== undefined) {
      const look = graph.node('Gather', [layout.tokenEmbeddings(fed), layout.ids]);
      return { rows: toRows(graph, look, width), width };
    }
    const table = weights.stored(name, shape, context.feedTokenEmbeddings);
    const places = weights.has(ROW_OF_TOKEN)
      ? graph.node('Gather', [weights.integers(ROW_OF_TOKEN, [tokens]), layout.ids])
      : layout.ids;
    const found = toRows(graph, graph.node('Gather', [table.value, places]), width);
    const rows = table.element === compute ? found : graph.cast(found, compute);
    if (!weights.has(TOKEN_WEIGHTS)) return { rows, width };
    const factors = graph.node('Gather', [weights.tensor(TOKEN_WEIGHTS, [tokens]), layout.ids]);
    return { rows: graph.node('Mul', [rows, toRows(graph, factors, 1)]), width };
  },
};
