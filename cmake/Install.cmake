# cmake --install: the program, its example configuration, the docs and the schemas (the binary
# carries the schemas too; the files are for people who review SQL before it runs).
include(GNUInstallDirs)
if(TARGET txcoord)
  install(TARGETS txcoord RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(FILES txcoord.example.toml DESTINATION ${CMAKE_INSTALL_SYSCONFDIR}/txcoord OPTIONAL)
install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
install(DIRECTORY schemas DESTINATION ${CMAKE_INSTALL_DATADIR}/txcoord OPTIONAL
  FILES_MATCHING PATTERN "*.sql")
