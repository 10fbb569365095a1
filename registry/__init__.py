"""What has a name: languages, teachers, corpora, benchmarks, bundles and registered models."""
