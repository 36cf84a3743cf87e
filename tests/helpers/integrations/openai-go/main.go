// The openai client for Go, unmodified: prints the vectors of the texts, as a list in one request and one by one.
package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func embed(client *openai.Client, model string, input openai.EmbeddingNewParamsInputUnion) [][]float64 {
	answer, err := client.Embeddings.New(context.Background(), openai.EmbeddingNewParams{Model: model, Input: input})
	if err != nil {
		panic(err)
	}
	vectors := make([][]float64, len(answer.Data))
	for at, item := range answer.Data {
		vectors[at] = item.Embedding
	}
	return vectors
}

func main() {
	base, model, texts := os.Args[1], os.Args[2], os.Args[3:]
	client := openai.NewClient(option.WithBaseURL(base), option.WithAPIKey("any"))
	together := embed(&client, model, openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: texts})
	alone := make([][]float64, 0, len(texts))
	for _, text := range texts {
		alone = append(alone, embed(&client, model, openai.EmbeddingNewParamsInputUnion{OfString: openai.String(text)})...)
	}
	if err := json.NewEncoder(os.Stdout).Encode([][][]float64{together, alone}); err != nil {
		panic(err)
	}
}
