"""Operations: from a document's text to its answer, with everything that can be kept between requests kept."""
