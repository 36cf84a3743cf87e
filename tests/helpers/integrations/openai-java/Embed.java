// The openai client for Java, unmodified: prints the vectors of the texts, as a list in one request and one by one.
import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.models.embeddings.Embedding;
import com.openai.models.embeddings.EmbeddingCreateParams;
import java.util.ArrayList;
import java.util.List;

public final class Embed {
  private static List<List<Float>> vectors(OpenAIClient client, EmbeddingCreateParams params) {
    return client.embeddings().create(params).data().stream().map(Embedding::embedding).toList();
  }

  public static void main(String[] args) {
    OpenAIClient client = OpenAIOkHttpClient.builder().baseUrl(args[0]).apiKey("any").build();
    List<String> texts = List.of(args).subList(2, args.length);
    List<List<Float>> together =
        vectors(client, EmbeddingCreateParams.builder().model(args[1]).inputOfArrayOfStrings(texts).build());
    List<List<Float>> alone = new ArrayList<>();
    for (String text : texts)
      alone.addAll(vectors(client, EmbeddingCreateParams.builder().model(args[1]).input(text).build()));
    // A list of numbers prints as JSON.
    System.out.println(List.of(together, alone));
    client.close();
  }
}
