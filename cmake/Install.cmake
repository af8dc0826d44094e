# cmake --install: the program, the docs (with the example configuration), what Prometheus and Grafana
# read, and the schemas (the binary carries the schemas too; the files are for people who review SQL
# before it runs).
include(GNUInstallDirs)
if(TARGET txcoord)
  install(TARGETS txcoord RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(FILES README.md CHANGELOG.md SECURITY.md txcoord.example.toml
  DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
install(DIRECTORY schemas DESTINATION ${CMAKE_INSTALL_DATADIR}/txcoord OPTIONAL
  FILES_MATCHING PATTERN "*.sql")
install(DIRECTORY monitoring DESTINATION ${CMAKE_INSTALL_DATADIR}/txcoord OPTIONAL
  PATTERN tests EXCLUDE)
